"""The numbers of the headline job, which every contender shares."""

SIZES = (784, 512, 10)
BATCH_SIZE = 128
SAMPLES = 60_000
LEARNING_RATE, RHO, EPSILON = 1e-3, 0.9, 1e-7
EPOCHS = 5


def flops(sizes: tuple[int, ...] = SIZES) -> int:
    """Of one sample's training step: the products forward, for each dW, and for each dh.

    The gradient of the input is not needed, so the first layer has no dh.
    """
    products = [fan_in * fan_out for fan_in, fan_out in zip(sizes, sizes[1:], strict=False)]
    return 2 * (2 * sum(products) + sum(products[1:]))
