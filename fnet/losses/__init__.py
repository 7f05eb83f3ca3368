"""Losses and metrics, with one value per sample."""

from .distances import (
    cosine_similarity as cosine_similarity,
    hinge as hinge,
    huber as huber,
    log_cosh as log_cosh,
    mean_absolute_error as mean_absolute_error,
    mean_squared_error as mean_squared_error,
    poisson as poisson,
)
from .imbalanced import (
    binary_focal_crossentropy as binary_focal_crossentropy,
    categorical_focal_crossentropy as categorical_focal_crossentropy,
    dice as dice,
)
from .labels import one_hot as one_hot, to_categorical as to_categorical
from .losses import (
    binary_crossentropy as binary_crossentropy,
    categorical_crossentropy as categorical_crossentropy,
    kl_divergence as kl_divergence,
    sparse_categorical_crossentropy as sparse_categorical_crossentropy,
)
from .metrics import (
    accuracy as accuracy,
    binary_accuracy as binary_accuracy,
    confusion_matrix as confusion_matrix,
    top_k_accuracy as top_k_accuracy,
)
from .precision_recall import auc as auc, f1 as f1, precision as precision, recall as recall
from .statistics import Statistic as Statistic
