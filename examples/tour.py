# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A tour of sassl
#
# Style augmentations for self-supervised learning ([SASSL](https://arxiv.org/abs/2312.01187)): their effect on a photograph,
# and their use in a pipeline. Everything here runs offline. `examples/tour.py` is the source of this notebook:
# `.ci/tour` builds it.

# %%
from sassl import Stylizer, notebook
from sassl.demo import photographs, styles
from sassl.transforms import SASSL, MoCoV2Transform

photos, patterns = photographs(), styles()
notebook.show(list(photos.values()) + list(patterns.values()), list(photos) + list(patterns), columns=5, height=150)

# %% [markdown]
# ## Algorithm 1, step by step
#
# F encodes content and style as vectors, which are blended: `z = (1 - alpha) F(content) + alpha F(style)`. T renders the
# content with `z`, and the view is a blend of pixels: `(1 - beta) content + beta T(content, z)`. The paper draws alpha and beta
# from 0.1 to 0.3. At this strength, a view looks like its photograph: the last image shows the difference amplified eight
# times, where gray means no change. The third image is T at full strength, the usual style transfer.

# %%
notebook.compare(photos["chelsea"], patterns["ink waves"], alpha=0.2, beta=0.2)

# %% [markdown]
# ## The paper's range
#
# With the original, `show` also displays the difference from it below each image.

# %%
model = Stylizer("lite")
photo, z = photos["flower"], model.encode(patterns["mosaic"][None])[0]
strengths = [0.1, 0.15, 0.2, 0.25, 0.3]
views = [model.stylize(photo[None], z, alpha=strength, beta=strength)[0] for strength in strengths]
notebook.show(views, [f"alpha = beta = {strength}" for strength in strengths], height=150, original=photo)

# %% [markdown]
# ## As an augmentation
#
# `SASSL()` draws a style from the bank inside the package, alpha and beta for each image, and leaves one image in five
# unchanged. Every draw is a value that can be inspected and replayed: here once more at full strength, which makes the
# styles visible.

# %%
import numpy as np

transform = SASSL(p=0.8, generator=np.random.default_rng(7))
notebook.draws(transform, photos["coffee"], n=5, height=150)

# %%
transform.params

# %% [markdown]
# ## Two views
#
# MoCo v2's two views, from decoding to normalization, with style on the left one: the query or online view. The differences
# show the effect of style on each view, with the same crop and colours.

# %%
two = MoCoV2Transform(style=SASSL(p=0.8), output="numpy", generator=np.random.default_rng(6))
notebook.two_views(two, photos["astronaut"], n=5, height=150)

# %%
two.params

# %% [markdown]
# ## Batches
#
# Threads compute batches ahead. Their contents depend only on the seed, the epoch and the image.

# %%
from sassl.data import Arrays, TwoViewLoader

images = Arrays(np.stack(list(photos.values())), range(len(photos)))
loader = TwoViewLoader(images, two, batch_size=5, seed=3)
(left, right), targets, names = next(iter(loader))
left.shape, targets, names

# %%
notebook.show(
    [two.to_image(view) for view in [*left, *right]],
    [f"{side} {t}" for side in ("left", "right") for t in targets],
    height=150,
)

# %% [markdown]
# ## Sliders
#
# alpha and beta blend from the image to the style, which is chosen from the bank; the seed draws all three like `SASSL`.

# %%
notebook.explore(photos["chelsea"])

# %% [markdown]
# Photographs: china by [danielbuechele](https://www.flickr.com/photos/danielbuechele/6061409035) and flower by
# [vultilion](https://www.flickr.com/photos/vultilion/6056698931), both
# [CC BY 2.0](https://creativecommons.org/licenses/by/2.0/), come with scikit-learn; astronaut by NASA (public domain),
# chelsea by Stefan van der Walt and coffee by Rachel Michetti (both CC0) with
# scikit-image. They are cropped to squares and stylized.
