"use strict";
(() => {
  // ------------------------------------------------------------ pictures over steps
  for (const sequel of document.querySelectorAll(".sequel.many")) {
    const frames = [...sequel.querySelectorAll(".frame")];
    const controls = sequel.querySelector(".controls");
    const slider = controls.querySelector("input");
    const output = controls.querySelector("output");
    const play = controls.querySelector(".play");
    let timer = null;
    const show = () => {
      frames.forEach((frame, i) => frame.classList.toggle("current", i === Number(slider.value)));
      output.textContent = frames[slider.value].dataset.step;
      slider.setAttribute("aria-valuetext", `step ${output.textContent}`);
    };
    const stop = () => {
      clearInterval(timer);
      timer = null;
      play.textContent = "Play";
    };
    play.addEventListener("click", () => {
      if (timer !== null) return stop();
      if (Number(slider.value) === frames.length - 1) slider.value = 0;
      show();
      play.textContent = "Pause";
      timer = setInterval(() => {
        slider.value = Number(slider.value) + 1;
        show();
        if (Number(slider.value) === frames.length - 1) stop();
      }, 250);
    });
    slider.addEventListener("input", () => {
      stop();
      show();
    });
    controls.hidden = false;
    show();
  }

  // ------------------------------------------------------------ commands to copy
  for (const button of document.querySelectorAll(".copy")) {
    const code = button.parentElement.querySelector("code");
    const label = button.firstChild;
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(code.textContent);
        label.textContent = "Copied";
      } catch {
        // A page opened from a file may not reach the clipboard: leave the command selected.
        getSelection().selectAllChildren(code);
        label.textContent = document.execCommand("copy") ? "Copied" : "Selected";
      }
      setTimeout(() => (label.textContent = "Copy"), 1500);
    });
  }

  // ------------------------------------------------------------ curves
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const plots = [...document.querySelectorAll(".plot")];
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(`--${name}`).trim();
  const alpha = (hex, share) => hex + Math.round(255 * share).toString(16).padStart(2, "0");
  const coarse = matchMedia("(pointer: coarse)").matches;

  const traces = (chart, legend) => {
    const found = [];
    for (const curve of chart.curves) {
      const ink = color(`c${curve.color % 8}`);
      const one = { x: curve.x, mode: curve.x.length <= 12 ? "lines+markers" : "lines", name: curve.name, showlegend: false };
      if (curve.low) {
        found.push({ ...one, mode: "lines", y: curve.low, line: { width: 0 }, hoverinfo: "skip" });
        found.push({ ...one, mode: "lines", y: curve.high, line: { width: 0 }, hoverinfo: "skip", fill: "tonexty", fillcolor: alpha(ink, 0.18) });
      }
      if (curve.smooth && !curve.low) {
        found.push({ ...one, y: curve.y, line: { color: alpha(ink, 0.3), width: 1 }, hoverinfo: "skip" });
      }
      found.push({
        ...one, y: curve.smooth ?? curve.y, line: { color: ink, width: 2 }, showlegend: legend,
        hovertemplate: `%{y:.4g}<extra>${chart.curves.length > 1 ? curve.name : ""}</extra>`,
      });
    }
    if (chart.best) {
      found.push({
        x: [chart.best.x], y: [chart.best.y], mode: "markers", name: "best", showlegend: false, hoverinfo: "skip",
        marker: { color: "rgba(0,0,0,0)", size: 13, line: { color: color("ink"), width: 2 } },
      });
    }
    return found;
  };

  const layout = (chart) => {
    const ink = color("quiet");
    const axis = { gridcolor: color("line"), linecolor: color("line"), zeroline: false, automargin: true, tickfont: { color: ink } };
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: 11, color: ink },
      margin: { l: 46, r: 10, t: 8, b: 28 },
      xaxis: { ...axis, nticks: 6, title: { text: "" } },
      yaxis: { ...axis, nticks: 6 },
      hovermode: "x unified",
      hoverlabel: { bgcolor: color("paper"), bordercolor: color("line"), font: { color: color("ink") } },
      dragmode: coarse ? false : "zoom", // a finger scrolls the page
      legend: { orientation: "h", y: -0.15, font: { color: ink } },
      shapes: chart.references.map((line) => ({
        type: "line", xref: "paper", x0: 0, x1: 1, y0: line.value, y1: line.value, line: { color: color("ink"), width: 1, dash: "dash" },
      })),
    };
  };

  const draw = () => {
    for (const plot of plots) {
      const chart = charts[plot.dataset.chart];
      const options = { responsive: true, displayModeBar: false };
      Plotly.react(plot, traces(chart, "legend" in plot.dataset && chart.curves.length > 1), layout(chart), options);
    }
  };
  if (plots.length) {
    draw();
    // The colours are the page's: drawn again when it turns dark or light, and for paper.
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    matchMedia("print").addEventListener("change", draw);
  }

  // ------------------------------------------------------------ paper shows what is folded
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach((one) => (one.open = true));
  });
  addEventListener("afterprint", () => folded.forEach((one) => (one.open = false)));
})();
