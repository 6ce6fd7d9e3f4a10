"""Linear heads trained side by side on the same features, each with its own learning rate, by SGD in float32.

p = softmax(W f + b);  loss = -log p[class], averaged over the batch
g_W = (p - onehot)^T f / B;  g_b = sum(p - onehot) / B
v = mu v + g;  W = W - lr v, or W = W - lr (g + mu v) with Nesterov's momentum
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .metrics import ranked

Array = NDArray[np.float32]
#: Maximum number of scores that `ranked` holds in memory at a time.
_BLOCK = 1 << 24


class Heads:
    """A group of linear heads with the same initial weights, trained on the same batches.

    Args:
        weights: (classes, dim) float32, the initial weights of all heads.
        bias: (classes,) float32, the initial biases of all heads.
        count: number of heads.
        momentum: momentum coefficient mu.
        nesterov: use Nesterov's momentum.
    """

    def __init__(self, weights: Array, bias: Array, count: int, *, momentum: float, nesterov: bool) -> None:
        self._momentum, self._nesterov = np.float32(momentum), nesterov
        #: The weights, (count, classes, dim), and the biases, (count, classes), of all heads, float32.
        self.weights, self.bias = (np.repeat(one[None].astype(np.float32), count, 0) for one in (weights, bias))
        self._velocities = {"weights": np.zeros_like(self.weights), "bias": np.zeros_like(self.bias)}

    def step(self, features: Array, places: NDArray[np.int64], rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """Run one SGD step on a batch.

        Args:
            features: (B, dim) float32.
            places: (B,) class index of each image, from 0 to classes - 1.
            rates: (count,) learning rates.

        Returns:
            (count,) each head's mean loss on the batch, before the step.
        """
        count, classes, dim = self.weights.shape
        n = len(features)
        # A head whose learning rate is too large overflows, which shows in its loss.
        with np.errstate(all="ignore"):
            scores = self.scores(features)
            scores -= scores.max(2, keepdims=True)
            own = np.take_along_axis(scores, places[:, None, None], 2)[..., 0]
            np.exp(scores, out=scores)
            sums = scores.sum(2, keepdims=True)
            losses = (np.log(sums[..., 0]) - own).mean(0, dtype=np.float64)
            scores /= sums
            scores[np.arange(n), :, places] -= 1
            scores *= np.float32(1 / n)
            flat = scores.reshape(n, count * classes)
            self._move("weights", (flat.T @ features).reshape(count, classes, dim), rates[:, None, None])
            self._move("bias", flat.sum(0).reshape(count, classes), rates[:, None])
        return losses

    def _move(self, name: str, gradient: Array, rates: NDArray[np.float64]) -> None:
        """Update the parameters `name` by SGD with this gradient; the array `gradient` may be overwritten."""
        values, velocity = getattr(self, name), self._velocities[name]
        velocity *= self._momentum
        velocity += gradient
        if self._nesterov:
            gradient += self._momentum * velocity
        else:
            gradient = velocity
        values -= rates.astype(np.float32) * gradient

    def scores(self, features: Array) -> Array:
        """Return scores (B, count, classes) of features (B, dim)."""
        count, classes, dim = self.weights.shape
        flat = features @ self.weights.reshape(count * classes, dim).T + self.bias.reshape(-1)
        return flat.reshape(len(features), count, classes)

    def ranked(self, which: int, features: Array, top: int = 5) -> NDArray[np.int64]:
        """Return the class indices of the largest scores of head `which`, best first: (N, min(top, classes))."""
        rows = max(1, _BLOCK // len(self.bias[which]))
        parts = (features[i : i + rows] for i in range(0, len(features), rows))
        return np.concatenate([ranked(part @ self.weights[which].T + self.bias[which], top) for part in parts])

    @property
    def are_finite(self) -> NDArray[np.bool_]:
        """For each head, whether all of its weights and biases are finite: (count,) bool."""
        pairs = zip(self.weights, self.bias, strict=True)
        return np.array([np.isfinite(weights).all() and np.isfinite(bias).all() for weights, bias in pairs])

    def state(self) -> dict[str, Array]:
        """Return the arrays that training needs to resume, by name; they are not copied."""
        velocities = {f"velocity.{name}": one for name, one in self._velocities.items()}
        return {"weights": self.weights, "bias": self.bias, **velocities}

    def load_state(self, state: dict[str, Array]) -> None:
        """Restore a state returned by `state`, of heads with the same count, classes and feature dimension."""
        for name, own in self.state().items():
            own[...] = state[name]
