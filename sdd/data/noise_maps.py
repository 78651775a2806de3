"""Which classes of a data set are mistaken for which, for asymmetric noise."""

# Patrini et al., "Making Deep Neural Networks Robust to Label Noise", CVPR 2017.
MISTAKEN_DIGITS = {7: 1, 2: 7, 5: 6, 6: 5, 3: 8}
# Truck for automobile, bird for airplane, deer for horse, cat and dog for each other.
MISTAKEN_OBJECTS = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}
# CIFAR-100's twenty super-classes (Krizhevsky 2009), as indices of their five classes.
SUPER_CLASSES = (
    (4, 30, 55, 72, 95),  # aquatic mammals
    (1, 32, 67, 73, 91),  # fish
    (54, 62, 70, 82, 92),  # flowers
    (9, 10, 16, 28, 61),  # food containers
    (0, 51, 53, 57, 83),  # fruit and vegetables
    (22, 39, 40, 86, 87),  # household electrical devices
    (5, 20, 25, 84, 94),  # household furniture
    (6, 7, 14, 18, 24),  # insects
    (3, 42, 43, 88, 97),  # large carnivores
    (12, 17, 37, 68, 76),  # large man-made outdoor things
    (23, 33, 49, 60, 71),  # large natural outdoor scenes
    (15, 19, 21, 31, 38),  # large omnivores and herbivores
    (34, 63, 64, 66, 75),  # medium-sized mammals
    (26, 45, 77, 79, 99),  # non-insect invertebrates
    (2, 11, 35, 46, 98),  # people
    (27, 29, 44, 78, 93),  # reptiles
    (36, 50, 65, 74, 80),  # small mammals
    (47, 52, 56, 59, 96),  # trees
    (8, 13, 48, 58, 90),  # vehicles 1
    (41, 69, 81, 85, 89),  # vehicles 2
)
NEXT_IN_SUPER_CLASS = {
    label: members[(i + 1) % len(members)]
    for members in SUPER_CLASSES
    for i, label in enumerate(members)
}
MISTAKEN = {
    "mnist-5k": MISTAKEN_DIGITS,
    "mnist": MISTAKEN_DIGITS,
    "cifar10": MISTAKEN_OBJECTS,
    "cifar10n": MISTAKEN_OBJECTS,
    "cifar100": NEXT_IN_SUPER_CLASS,
    "cifar100n": NEXT_IN_SUPER_CLASS,
}
