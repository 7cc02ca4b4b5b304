"""The data sets of the core.

    parts.py    every data set's options and checks; the place to begin
    digits.py   mnist5k, mnist, fashion_mnist
    cifar.py    cifar10, cifar100
    folder.py   celeba, image_folder: which images, in which order
    array.py    array
    planar.py   gaussian, ring, grid, swissroll, circles

and what these share:

    places.py   where data is looked for, what is said when it is missing, downloads
    pixels.py   channels, padding, resizing
    store.py    folders and archives of image files
    decode.py   an image file's bytes to pixels
    cache.py    decoding once, in parallel, into a memory-mapped file
"""
