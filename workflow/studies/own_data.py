"""Writes a small data set of one's own, which workflow/studies/own_data.yaml studies:

    python workflow/studies/own_data.py digits.npz

scikit-learn's 1,797 handwritten digits of 8 x 8 pixels (Alpaydin and Kaynak 1998, CC BY 4.0);
nothing is downloaded. Their labels come from a careless annotator, who has seen two images of each
digit and gives a new image the name of the closest. The true labels stand beside them, so that the
share of wrong ones is known.
"""

import sys

import numpy as np
from sklearn.datasets import load_digits

TEST, SEEN = 40, 2  # images of each digit


def main(path: str) -> None:
    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)  # they have 17 shades of grey
    true = digits.target
    order = np.random.default_rng(0).permutation(len(true))
    by_digit = [order[true[order] == digit] for digit in range(10)]
    test = np.sort(np.concatenate([places[:TEST] for places in by_digit]))
    train = np.sort(np.concatenate([places[TEST:] for places in by_digit]))
    seen = np.concatenate([places[TEST : TEST + SEEN] for places in by_digit])
    np.savez(
        path,
        train_images=images[train],
        train_labels=nearest(images[train], images[seen], true[seen]),
        train_true_labels=true[train],
        test_images=images[test],
        test_labels=true[test],
        class_names=[str(digit) for digit in range(10)],
    )


def nearest(images: np.ndarray, examples: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """For each of the images, the label of the example that it is closest to."""
    flat = [part.reshape(len(part), 1, -1).astype(float) for part in (images, examples)]
    return labels[((flat[0] - flat[1].swapaxes(0, 1)) ** 2).sum(2).argmin(1)]


if __name__ == "__main__":
    main(*sys.argv[1:])
