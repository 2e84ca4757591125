# glmnet's side of `lethe bench lasso`. Reads .npy files, writes one JSON.
#
# In --folder: masks.npy (m, n) bool; outputs.npy (m, t) float32; lambdas-GRID.npy (t, L) float64, descending, zero padded;
# selected-GRID.npy (t) int32: the place of the lambda whose weights are wanted. Writes glmnet.json and weights (t, n) as raw float32.
# Timed: the call of glmnet. --precision only says whether this run is an exact solution to compare with: glmnet is double throughout.
suppressPackageStartupMessages(library(glmnet))

arguments <- function() {
  given <- commandArgs(trailingOnly = TRUE)
  names <- sub("^--", "", given[c(TRUE, FALSE)])
  setNames(as.list(given[c(FALSE, TRUE)]), names)
}

# A matrix of an .npy file (version 1, C order), or a vector.
read_npy <- function(name) {
  connection <- file(name, "rb")
  on.exit(close(connection))
  start <- readBin(connection, "raw", 10)
  header <- rawToChar(readBin(connection, "raw", as.integer(start[9]) + 256L * as.integer(start[10])))
  type <- sub(".*'descr': '([^']*)'.*", "\\1", header)
  sizes <- strsplit(gsub("[^0-9,]", "", sub(".*'shape': \\(([^)]*)\\).*", "\\1", header)), ",")[[1]]
  shape <- as.numeric(sizes)
  count <- prod(shape)
  values <- switch(type,
    "|b1" = as.integer(readBin(connection, "raw", count)),
    "<f4" = readBin(connection, "numeric", count, size = 4),
    "<f8" = readBin(connection, "numeric", count, size = 8),
    "<i4" = readBin(connection, "integer", count, size = 4),
    stop("unexpected type ", type, " in ", name)
  )
  if (length(shape) == 1) values else matrix(values, shape[1], shape[2], byrow = TRUE)
}

cpu_seconds <- function() sum(proc.time()[c("user.self", "sys.self")])

# coordinates are scaled by nothing, as in the other solvers; maxit is no limit
solve_path <- function(x, y, lambdas, thresh) {
  glmnet(x, y, lambda = lambdas, standardize = FALSE, thresh = thresh, maxit = 1e7)
}

options <- arguments()
within <- function(name) file.path(options$folder, name)
x <- read_npy(within("masks.npy"))
storage.mode(x) <- "double"
y <- read_npy(within("outputs.npy"))
lambdas <- read_npy(within(paste0("lambdas-", options$grid, ".npy")))
selected <- read_npy(within(paste0("selected-", options$grid, ".npy")))
targets <- as.integer(options$targets)
invisible(solve_path(x, y[, 1], lambdas[1, 1], 1e-2)) # first calls are not timed

runs <- character()
for (thresh in strsplit(options$tolerances, ",")[[1]]) {
  seconds <- 0
  name <- sprintf("glmnet-%d.f32", length(runs))
  output <- file(within(name), "wb")
  for (target in seq_len(targets)) {
    walk <- lambdas[target, lambdas[target, ] > 0]
    started <- cpu_seconds()
    fit <- solve_path(x, y[, target], walk, as.numeric(thresh))
    seconds <- seconds + cpu_seconds() - started
    writeBin(as.numeric(fit$beta[, selected[target] + 1]), output, size = 4)
  }
  close(output)
  runs <- c(runs, sprintf('{"tolerance": %s, "cpuSeconds": %.6f, "weights": "%s"}', thresh, seconds, name))
}
version <- sprintf("%s (R %s.%s)", packageVersion("glmnet"), R.version$major, R.version$minor)
cat(sprintf('{"version": "%s", "gramSeconds": 0, "runs": [%s]}\n', version, paste(runs, collapse = ", ")), file = within("glmnet.json"))
