"""Deterministic solvers: features in, linear heads out. Nothing here is drawn at random or depends on a global generator.

solution = fit_logistic(features, labels, num_classes, penalty)
selection = cross_validate("svm", features, labels, num_classes, penalties, folds)
"""

from headstart.engine.solvers.calibrate import calibration_scale
from headstart.engine.solvers.folds import stratified_folds
from headstart.engine.solvers.kernel import KernelSolution, fit_kernel_svm
from headstart.engine.solvers.linear import LinearSolution
from headstart.engine.solvers.logistic import fit_logistic
from headstart.engine.solvers.prototypes import Clusters, fit_nearest_mean, kmeans
from headstart.engine.solvers.ridge import fit_ridge, leave_one_out
from headstart.engine.solvers.select import Selection, cross_validate, fit, prepared, solve
from headstart.engine.solvers.svm import fit_svm

__all__ = [
    "Clusters",
    "KernelSolution",
    "LinearSolution",
    "Selection",
    "calibration_scale",
    "cross_validate",
    "fit",
    "fit_kernel_svm",
    "fit_logistic",
    "fit_nearest_mean",
    "fit_ridge",
    "fit_svm",
    "kmeans",
    "leave_one_out",
    "prepared",
    "solve",
    "stratified_folds",
]
