"""A Gaussian a class with a covariance of its own, as an estimator of scikit-learn's.

In a module of its own, since saved models name it by that.
"""

import numpy as np
from scipy import linalg
from sklearn.covariance import empirical_covariance, shrunk_covariance
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis


class SeparateGaussians(QuadraticDiscriminantAnalysis):
    """scikit-learn's, by the solver of LAPACK that divides and conquers.

    The default one (MRRR) gives up on some covariances with many equal eigenvalues, and shrinking leaves many of those where
    tweets are few and dimensions many.
    """

    def _solve_eigen(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Variances, falling, the axes along which they are taken, and the covariance: (d,), (d, d) and (d, d)."""
        covariance = shrunk_covariance(empirical_covariance(x), self.shrinkage)
        variances, axes = linalg.eigh(covariance, driver="evd")
        return variances[::-1], axes[:, ::-1], covariance
