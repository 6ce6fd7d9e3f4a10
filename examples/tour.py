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
# Style augmentations for self-supervised learning ([SASSL](https://arxiv.org/abs/2312.01187)): what they do to a photograph,
# and how they enter a pipeline. Everything here runs offline. `examples/tour.py` is the source of this notebook:
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
# F turns content and style into vectors, which are blended: `z = (1 - alpha) F(content) + alpha F(style)`. T paints the content
# with `z`, and the view is a mix of pixels: `(1 - beta) content + beta T(content, z)`. The paper draws alpha and beta from
# 0.1 to 0.3. At that strength a view looks like its photograph: the last image shows the difference eight times as strong, and
# gray means no change. The third is T at full strength, style transfer as artists know it.

# %%
notebook.compare(photos["chelsea"], patterns["ink waves"], alpha=0.2, beta=0.2)

# %% [markdown]
# ## The paper's range
#
# `show` takes the original too, and shows below each image how it differs from it.

# %%
model = Stylizer("lite")
photo, z = photos["flower"], model.encode(patterns["mosaic"][None])[0]
strengths = [0.1, 0.15, 0.2, 0.25, 0.3]
views = [model.stylize(photo[None], z, alpha=strength, beta=strength)[0] for strength in strengths]
notebook.show(views, [f"alpha = beta = {strength}" for strength in strengths], height=150, original=photo)

# %% [markdown]
# ## As an augmentation
#
# `SASSL()` draws a style of the bank inside the package, alpha and beta for each image, and leaves one image in five as it is.
# Every draw is a value that can be read and replayed: here once more at full strength, which shows what the styles are.

# %%
import numpy as np

transform = SASSL(p=0.8, generator=np.random.default_rng(7))
notebook.draws(transform, photos["coffee"], n=5, height=150)

# %%
transform.params

# %% [markdown]
# ## Two views
#
# MoCo v2's two views from decoding to normalizing, with style on the left one: the query or online view. The differences show
# what style changes in each view, with the same crop and colours.

# %%
two = MoCoV2Transform(style=SASSL(p=0.8), output="numpy", generator=np.random.default_rng(6))
notebook.two_views(two, photos["astronaut"], n=5, height=150)

# %%
two.params

# %% [markdown]
# ## Batches
#
# Threads make batches ahead. What is in them is a function of seed, epoch and image alone.

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
# alpha and beta from the image to the style, the style among those of the bank; the seed draws all three as `SASSL` does.

# %%
notebook.explore(photos["chelsea"])

# %% [markdown]
# Photographs: china by [danielbuechele](https://www.flickr.com/photos/danielbuechele/6061409035) and flower by
# [vultilion](https://www.flickr.com/photos/vultilion/6056698931), both
# [CC BY 2.0](https://creativecommons.org/licenses/by/2.0/), come with scikit-learn; astronaut by NASA (public domain),
# chelsea by Stefan van der Walt and coffee by Rachel Michetti (both CC0) with
# scikit-image. They are cut to squares and stylized.
