"""The one array type of this package."""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
