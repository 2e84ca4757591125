"""Writes lasso.json: Lasso problems and scikit-learn's solutions. Run: python3 make.py (NumPy 1.24, scikit-learn 1.2.1)."""
import json
import pathlib

import numpy as np
import sklearn
from sklearn.linear_model import Lasso

rng = np.random.default_rng(20240601)
problems = []
for models, train, targets in [(40, 25, 3), (90, 150, 3), (200, 60, 2)]:
    masks = rng.random((models, train)) < 0.5
    truth = rng.normal(size=(train, targets)) * (rng.random((train, targets)) < 0.15)
    outputs = (masks @ truth + 0.5 * rng.normal(size=(models, targets)) + 2).astype(np.float32)
    x, y = masks.astype(np.float64), outputs.astype(np.float64)
    centred = x - x.mean(axis=0)
    cases = []
    for target in range(targets):
        lambda_max = np.abs(centred.T @ (y[:, target] - y[:, target].mean())).max() / models
        for share in (0.6, 0.2, 0.05):
            lam = share * lambda_max
            model = Lasso(alpha=lam, tol=1e-14, max_iter=1_000_000).fit(x, y[:, target])
            rest = y[:, target] - x @ model.coef_ - model.intercept_
            objective = rest @ rest / (2 * models) + lam * np.abs(model.coef_).sum()
            cases.append({"target": target, "lambda": lam, "objective": objective, "nonzero": int(np.count_nonzero(model.coef_))})
    problems.append({
        "masks": ["".join("1" if bit else "0" for bit in row) for row in masks],
        "outputs": [[float(value) for value in row] for row in outputs],
        "cases": cases,
    })
out = {"numpy": np.__version__, "sklearn": sklearn.__version__, "problems": problems}
pathlib.Path(__file__).with_name("lasso.json").write_text(json.dumps(out) + "\n")
