"""Everything public, by what it is for. This list is the API: what is not here is nobody's business."""

# ------------------------------------------------------------------ runs and recipes, from Python

from .export.sampler import export_sampler as export_sampler
from .parts.loading import load as load, register as register
from .recipes.recipe import Recipe as Recipe
from .report import Page as Page, write_report as write_report
from .runs.api import Run as Run, load_run as load_run, run as run
from .runs.look import Look as Look, look as look
from .runs.summary import Summary as Summary, summaries as summaries
from .scores.compare import Comparison as Comparison, compare as compare
from .scores.judge import Judgement as Judgement, score as score
from .sweeps import sweep as sweep

# ------------------------------------------------------------------ errors

from .errors import (
    CheckpointError as CheckpointError,
    DataError as DataError,
    Diverged as Diverged,
    GflowError as GflowError,
    Interrupted as Interrupted,
    PluginError as PluginError,
    Problem as Problem,
    RecipeError as RecipeError,
    UnknownPart as UnknownPart,
    did_you_mean as did_you_mean,
)

# ------------------------------------------------------------------ what a plugin is

from .parts.hookspecs import API_VERSION as API_VERSION, hookimpl as hookimpl
from .parts.kinds import kind as kind
from .parts.options import option as option

# ------------------------------------------------------------------ contracts: nouns, and a Protocol a kind

from .parts.analysis import AnalyzerPart as AnalyzerPart, Map as Map, Result as Result, Subject as Subject
from .parts.contracts import (
    Adaptive as Adaptive,
    Augmentation as Augmentation,
    DatasetPart as DatasetPart,
    DiscriminatorPart as DiscriminatorPart,
    Encoder as Encoder,
    EncoderPart as EncoderPart,
    Judged as Judged,
    Latent as Latent,
    Loss as Loss,
    Number as Number,
    OptimizerPart as OptimizerPart,
    Penalty as Penalty,
    SamplerPart as SamplerPart,
    Schedule as Schedule,
    TextEncoderPart as TextEncoderPart,
    Tracker as Tracker,
    TrackerPart as TrackerPart,
    at as at,
)
from .parts.nouns import (
    Batch as Batch,
    DataShape as DataShape,
    Moments as Moments,
    Progress as Progress,
    TextEncoder as TextEncoder,
    no_progress as no_progress,
)
from .parts.source import Modes as Modes, Source as Source, fingerprint as fingerprint, weights_hash as weights_hash
from .parts.spec import Analysis as Analysis, Spec as Spec, Train as Train
from .parts.training import (
    Average as Average,
    Experiment as Experiment,
    Feed as Feed,
    Metrics as Metrics,
    Objective as Objective,
    ObjectivePart as ObjectivePart,
    Phase as Phase,
    Player as Player,
)
from .parts.plugins import name_of as name_of

# ------------------------------------------------------------------ where it computes

from .machine.runtime import Runtime as Runtime
from .machine.streams import Streams as Streams, derive as derive, seeded as seeded

# ------------------------------------------------------------------ the game and the flow, which plugins extend

from .methods.adversarial import Adversarial as Adversarial
from .methods.flow import ParticleFlow as ParticleFlow, VelocityPart as VelocityPart
from .methods.game import AdversarialObjective as AdversarialObjective
from .methods.losses import (
    Hinge as Hinge,
    LeastSquares as LeastSquares,
    Minimax as Minimax,
    Monoflow as Monoflow,
    Nonsaturating as Nonsaturating,
    Relativistic as Relativistic,
    Wasserstein as Wasserstein,
)
from .methods.gradients import (
    interpolate as interpolate,
    one_centred as one_centred,
    squared_gradient_norm as squared_gradient_norm,
    zero_centred as zero_centred,
)
from .methods.pieces import Pieces as Pieces
from .methods.fields import (
    Everywhere as Everywhere,
    Field as Field,
    FlowState as FlowState,
    Velocity as Velocity,
    clamp_bounds as clamp_bounds,
)
from .methods.particles import ParticleFlowObjective as ParticleFlowObjective
from .methods.penalties import (
    GradientPenalty as GradientPenalty,
    Interpolation as Interpolation,
    Mixed as Mixed,
    R1 as R1,
    R2 as R2,
    WganGp as WganGp,
)
from .methods.rules import FlowRules as FlowRules, GameRules as GameRules
from .methods.velocities import BatchVelocity as BatchVelocity

# ------------------------------------------------------------------ building blocks of networks and steps

from .data.augmentations import (
    Color as Color,
    Cutout as Cutout,
    Dither as Dither,
    Flip as Flip,
    Translation as Translation,
)
from .nn.attention import SelfAttention as SelfAttention
from .nn.batch_norm import (
    batch_statistics as batch_statistics,
    estimate_batch_norm as estimate_batch_norm,
    goes_by_batches as goes_by_batches,
)
from .nn.conditional import (
    ConditionalBatchNorm2d as ConditionalBatchNorm2d,
    LabelledSequential as LabelledSequential,
    Projection as Projection,
)
from .nn.fits import (
    attention_faults as attention_faults,
    autoencoder_faults as autoencoder_faults,
    base_maps as base_maps,
    batch_norm_faults as batch_norm_faults,
    image_size_faults as image_size_faults,
)
from .nn.labels import as_vectors as as_vectors, label_in as label_in, parse_label as parse_label
from .nn.latents import (
    Bernoulli as Bernoulli,
    Equicorrelated as Equicorrelated,
    Normal as Normal,
    StudentT as StudentT,
    TruncatedNormal as TruncatedNormal,
    Uniform as Uniform,
)
from .nn.mlp import Mlp as Mlp, MlpLogit as MlpLogit
from .nn.portable import Portable as Portable, portable as portable
from .nn.resample import DownConv as DownConv, UpConv as UpConv, doubled as doubled
from .nn.sampling import (
    Given as Given,
    draw_from as draw_from,
    draw_labels as draw_labels,
    label_pool as label_pool,
    pieces as pieces,
    push as push,
    sample as sample,
)
from .nn.spectral import spectral_norm as spectral_norm, spectral_norms as spectral_norms
from .nn.strided import (
    StridedDiscriminator as StridedDiscriminator,
    StridedLabels as StridedLabels,
    StridedSampler as StridedSampler,
    normal_init as normal_init,
)
from .nn.strided_conv import StridedConv as StridedConv, StridedTransposedConv as StridedTransposedConv
from .optim.optimizers import (
    SGD as SGD,
    Adam as Adam,
    AdamW as AdamW,
    RMSprop as RMSprop,
    TorchOptimizer as TorchOptimizer,
)
from .optim.player import evaluating as evaluating, frozen as frozen, make_player as make_player
from .optim.schedules import (
    Chain as Chain,
    Constant as Constant,
    Cosine as Cosine,
    Exponential as Exponential,
    Linear as Linear,
    Multistep as Multistep,
    Warmup as Warmup,
)
from .runs.build import build_network as build_network

# ------------------------------------------------------------------ data, encoders and scores

from .data.places import not_found as not_found
from .encoders.autoencoder import own_encoder as own_encoder
from .encoders.network import (
    EncoderNetwork as EncoderNetwork,
    float32_only as float32_only,
)
from .files.weights import load_state as load_state, read_state as read_state
from .files.whole import written_aside as written_aside
from .runs.pictures import image_grid as image_grid
from .scores.checks import Check as Check, by_statement as by_statement
from .scores.distances import distances as distances, double as double, nearest as nearest
from .scores.feature_scores import encoder_faults as encoder_faults
from .scores.features import (
    Features as Features,
    Vectors as Vectors,
    as_stored as as_stored,
    real_index as real_index,
    score_name as score_name,
)
from .scores.frechet import FeatureMoments as FeatureMoments, frechet_distance as frechet_distance
from .scores.held_out import held_out as held_out
from .scores.interpolation import lerp as lerp, slerp as slerp
from .scores.sample_grid import grid_figure as grid_figure

# ------------------------------------------------------------------ the test kit

from .testing.analyzers import check_analyzer as check_analyzer
from .testing.encoders import check_encoder as check_encoder, check_text_encoder as check_text_encoder
from .testing.objectives import check_objective as check_objective
from .testing.parts import (
    Untried as Untried,
    check_dataset as check_dataset,
    check_discriminator as check_discriminator,
    check_latent as check_latent,
    check_sampler as check_sampler,
)
from .testing.rounding import OwnRounding as OwnRounding
from .testing.steps import (
    check_augmentation as check_augmentation,
    check_loss as check_loss,
    check_optimizer as check_optimizer,
    check_part as check_part,
    check_penalty as check_penalty,
    check_schedule as check_schedule,
    check_tracker as check_tracker,
)
from .testing.tiny import (
    TINY as TINY,
    TinyData as TinyData,
    TinyDiscriminator as TinyDiscriminator,
    TinySampler as TinySampler,
)
from .testing.velocities import check_velocity as check_velocity
