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
# `.ci/tour` makes it anew.

# %%
from sassl import notebook
from sassl.demo import photographs, styles
from sassl.transforms import SASSL, MoCoV2Transform

photos, patterns = photographs(), styles()
notebook.show(list(photos.values()) + list(patterns.values()), list(photos) + list(patterns), columns=5, height=150)

# %% [markdown]
# ## Algorithm 1, step by step
#
# F turns content and style into vectors, which are blended: `z = (1 - alpha) F(content) + alpha F(style)`. T paints the content
# with `z`, and the view is a mix of pixels: `(1 - beta) content + beta T(content, z)`. The paper draws alpha and beta from
# 0.1 to 0.3.

# %%
notebook.compare(photos["chelsea"], patterns["ink waves"], alpha=0.2, beta=0.2)

# %% [markdown]
# With alpha = beta = 1 it is style transfer as artists know it.

# %%
notebook.compare(photos["chelsea"], patterns["ink waves"], alpha=1.0, beta=1.0)

# %% [markdown]
# ## As an augmentation
#
# `SASSL()` draws a style of the bank inside the package, alpha and beta for each image. Every draw is a value that can be read
# and replayed.

# %%
import numpy as np

transform = SASSL(p=1.0, generator=np.random.default_rng(0))
views = [transform(photos["coffee"]) for _ in range(5)]
notebook.show(views, height=150)

# %%
transform.params

# %% [markdown]
# ## Two views
#
# MoCo v2's two views from decoding to normalizing, with style on the left one: the query or online view.

# %%
two = MoCoV2Transform(style=SASSL(p=0.8), output="numpy", generator=np.random.default_rng(1))
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
