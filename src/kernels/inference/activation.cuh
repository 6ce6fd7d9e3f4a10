// Applies an `Activation`.
DEVICE float activated(float x, int activation) {
    if (activation != ACTIVATION_NONE) x = fmaxf(x, 0.0f);
    return activation == ACTIVATION_RELU6 ? fminf(x, 6.0f) : x;
}

