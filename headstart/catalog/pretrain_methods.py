"""Every way to pretrain, by name; torch-free."""

from __future__ import annotations

from headstart.catalog.pretraining import PretrainMethod

PRETRAINING: dict[str, PretrainMethod] = {
    "supervised": PretrainMethod(
        "supervised",
        "learn the classes, and keep the backbone",
        "Yosinski et al. 2014",
        passes=1,
        limits="needs labels; features of the last blocks are about these classes",
        labels=True,
    ),
    "greedy": PretrainMethod(
        "supervised",
        "block by block: each learns on what those below, frozen, put out; then all together",
        "Bengio et al. 2007",
        passes=1,
        limits="fast, not optimal; needs labels unless another objective is named (--settings objective=simclr)",
        labels=True,
    ),
    "byol": PretrainMethod(
        "without negatives",
        "each view predicts what a slowly moving copy makes of the other",
        "Grill et al. 2020",
        passes=4,
        limits="needs batch normalisation somewhere (its projection has it), and batches of some dozens",
    ),
    "simsiam": PretrainMethod(
        "without negatives",
        "each view predicts the other, which is held still",
        "Chen & He 2021",
        passes=2,
        limits="nothing but a stopped gradient keeps it from collapsing: watch the spread",
    ),
    "barlow": PretrainMethod(
        "without negatives",
        "the correlation between two views' embeddings becomes the identity",
        "Zbontar et al. 2021",
        passes=2,
        limits="correlations are over the images of a step: give batches of 64 at least",
    ),
    "vicreg": PretrainMethod(
        "without negatives",
        "views alike, every dimension spread, no two dimensions the same",
        "Bardes et al. 2022",
        passes=2,
        limits="variances are over the images of a step: give batches of 64 at least",
    ),
    "dino": PretrainMethod(
        "without negatives",
        "describe each view in words as a centred, sharpened copy of the network describes the others",
        "Caron et al. 2021",
        passes=4,
        limits="sensitive to temperatures and decay; small views (local) need a network that takes other sizes",
    ),
    "deepcluster": PretrainMethod(
        "without negatives",
        "tell each image's cluster, clustered anew before every epoch",
        "Caron et al. 2018",
        passes=2,
        limits="holds the features of all images in memory; the first clusters are those of a random network",
    ),
    "swav": PretrainMethod(
        "without negatives",
        "predict the code of one view, among prototypes shared out evenly, from another",
        "Caron et al. 2020",
        passes=2,
        limits="batches (with the queue) need more images than prototypes",
    ),
    "mae": PretrainMethod(
        "reconstruction",
        "see a quarter of the patches, tell the pixels of the others",
        "He et al. 2022",
        passes=0.25,
        limits="headstart:vit and timm's plain vision transformers only; slow to start, better fine-tuned than probed",
        needs="transformer",
    ),
    "simclr": PretrainMethod(
        "contrastive",
        "two views of an image are alike, views of different images are not",
        "Chen et al. 2020",
        passes=2,
        limits="needs large batches, whose other images are the negatives; in chunks, batch normalisation sees a chunk",
    ),
    "moco": PretrainMethod(
        "contrastive",
        "the same with negatives from earlier batches, which a queue keeps and a slow copy of the network made",
        "He et al. 2020; Chen et al. 2020b",
        passes=2,
        limits="the queue needs many more images than it has places, and the slow copy many steps",
    ),
    "triplet": PretrainMethod(
        "contrastive",
        "an image's other view is nearer than any other image, by a margin",
        "Schroff et al. 2015; Hermans et al. 2017",
        passes=2,
        limits="nothing is learned from images that are far enough apart; the nearest alone (mining=hard) may collapse",
    ),
    "rotation": PretrainMethod(
        "pretext",
        "tell by which of four right angles an image was turned",
        "Gidaris et al. 2018",
        passes=4,
        limits="needs square images that have an up and a down; its best features are a block before the last",
    ),
    "relative_position": PretrainMethod(
        "pretext",
        "tell in which of eight directions of a patch another one lies",
        "Doersch et al. 2015",
        passes=4 * 0.40625**2,
        limits="sees four patches of two fifths of the side (they count by their area): the network must take such sizes",
    ),
    "jigsaw": PretrainMethod(
        "pretext",
        "tell in which order the nine tiles of an image were laid",
        "Noroozi & Favaro 2016",
        passes=9 / 16,
        limits="sees tiles of a quarter of the side (nine of them count by their area): the network must take such sizes",
    ),
    "cpc": PretrainMethod(
        "contrastive",
        "predict the patches further down an image from those above, among patches of all images",
        "van den Oord et al. 2018",
        passes=3.0625,
        limits="a network without batch normalisation that takes patches, as headstart:cpc_encoder",
        batchnorm="forbidden",
    ),
    "amdim": PretrainMethod(
        "contrastive",
        "what one copy of an image is as a whole tells the parts of another copy, at two scales",
        "Bachman et al. 2019",
        passes=2,
        limits="needs a network with maps of 7x7, 5x5 and 1x1 places, as headstart:amdim_encoder at 32 px",
    ),
}
"""Name -> what is to be known; the names of `strategies/pretrain`."""
