"""Fine-tuning: training of a pretrained backbone with a linear classifier on labelled images, by published recipes.

    from sassl import evaluation

    evaluation.finetune(model, "train", "test", val="val")  # the grid of Kornblith et al. 2019: 56 runs, and a final one
    evaluation.finetune(model, "train", "test", lr=0.01, weight_decay=1e-5, steps=2000)  # one cell of the grid, shorter
    evaluation.finetuning.RECIPES["ssl-transfer"]  # a recipe: its settings and their source

A recipe has a grid of learning rates, weight decays and lengths of training; a cell is one combination of the three.
"""

from .judging import finetune
from .learning import DivergedError
from .recipes import DEFAULT, OF_SETS, RECIPES, Cell, Recipe, recipe_of

__all__ = ["DEFAULT", "OF_SETS", "RECIPES", "Cell", "DivergedError", "Recipe", "finetune", "recipe_of"]
