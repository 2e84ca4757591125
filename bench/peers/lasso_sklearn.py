"""scikit-learn's side of `lethe bench lasso`: lasso_path with one Gram matrix for all targets. Reads .npy files, writes one JSON.

In --folder: masks.npy (m, n) bool; outputs.npy (m, t) float32; lambdas-GRID.npy (t, L) float64, descending, zero padded;
selected-GRID.npy (t) int32: the place of the lambda whose weights are wanted. Writes sklearn.json and weights (t, n) as raw float32.
Timed: X^T y and the path. Not timed: centring and the Gram matrix, built once and kept in the folder.
"""
import argparse
import json
import pathlib
import time
import warnings

import numpy as np
import sklearn
from sklearn.linear_model import lasso_path


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--grid", required=True, help="which lambdas-GRID.npy to walk")
    parser.add_argument("--tolerances", required=True, help="comma-separated values of tol, one run each")
    parser.add_argument("--targets", type=int, required=True, help="the first so many targets")
    parser.add_argument("--precision", choices=["fast", "tight"], required=True, help="float32 or float64")
    return parser.parse_args()


def shared_gram(folder, x, precision):
    """The Gram matrix of the centred masks and the CPU seconds it took when it was built."""
    file, facts = folder / f"gram-{precision}.npy", folder / f"gram-{precision}.json"
    if facts.exists():
        return np.load(file), json.loads(facts.read_text())["seconds"]
    started = time.process_time()
    gram = x.T @ x
    seconds = time.process_time() - started
    np.save(file, gram)
    facts.write_text(json.dumps({"seconds": seconds}))
    return gram, seconds


def solve(x, gram, y, lambdas, tolerance):
    _, weights, _ = lasso_path(
        x, y, alphas=lambdas, precompute=gram, Xy=x.T @ y, tol=tolerance, max_iter=100000, check_input=False
    )
    return weights


def blas():
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return ""
    return ", ".join(f"{lib['internal_api']} {lib['version']}" for lib in threadpool_info() if lib["user_api"] == "blas")


def main():
    options = arguments()
    folder = options.folder
    dtype = np.float32 if options.precision == "fast" else np.float64
    x = np.asfortranarray(np.load(folder / "masks.npy"), dtype=dtype)
    x -= x.mean(axis=0, dtype=np.float64).astype(dtype)
    y = np.load(folder / "outputs.npy").astype(np.float64)[:, : options.targets]
    y = np.asfortranarray((y - y.mean(axis=0)).astype(dtype))
    grid = np.load(folder / f"lambdas-{options.grid}.npy")
    lambdas = [row[row > 0] for row in grid]
    selected = np.load(folder / f"selected-{options.grid}.npy")
    gram, gram_seconds = shared_gram(folder, x, options.precision)
    solve(x, gram, y[:, 0], lambdas[0][:1], 1e-2)  # imports and first calls are not timed
    runs = []
    for number, tolerance in enumerate(float(text) for text in options.tolerances.split(",")):
        weights = np.empty((y.shape[1], x.shape[1]), dtype=np.float32)
        seconds = 0.0
        for target in range(y.shape[1]):
            started = time.process_time()
            path = solve(x, gram, y[:, target], lambdas[target], tolerance)
            seconds += time.process_time() - started
            weights[target] = path[:, selected[target]]
        file = f"sklearn-{number}.f32"
        weights.tofile(folder / file)
        runs.append({"tolerance": tolerance, "cpuSeconds": seconds, "weights": file})
    result = {"version": f"{sklearn.__version__} (NumPy {np.__version__}, {blas()})", "gramSeconds": gram_seconds, "runs": runs}
    (folder / "sklearn.json").write_text(json.dumps(result))


with warnings.catch_warnings():
    # unfinished solves are judged by their duality gap
    warnings.simplefilter("ignore")
    main()
