#include "core/lasso/working_set.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace lethe {

namespace {

constexpr double kLeastSquaresResidual = 1e-5;
constexpr int64_t kLeastSquaresSteps = 200;

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// gram[p, q] = gram[q, p] for p < from <= q < to.
void mirror(int16_t* gram, int64_t stride, int64_t from, int64_t to) {
  for (int64_t p = 0; p < from; ++p) {
    for (int64_t q = from; q < to; ++q) gram[p * stride + q] = gram[q * stride + p];
  }
}

typedef uint8_t Bytes __attribute__((vector_size(16)));

// Row k becomes column k: interleaving rows k and k + 8 turns the digits of (row, column) around by one bit, four times is all of them.
void transpose(Bytes (&row)[16]) {
  constexpr Bytes kLow = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23};
  constexpr Bytes kHigh = {8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  for (int round = 0; round < 4; ++round) {
    Bytes turned[16];
    for (int k = 0; k < 8; ++k) {
      turned[2 * k] = __builtin_shuffle(row[k], row[k + 8], kLow);
      turned[2 * k + 1] = __builtin_shuffle(row[k], row[k + 8], kHigh);
    }
    std::memcpy(row, turned, sizeof row);
  }
}

// The same in tiles of 16 x 16 bytes, which are turned in registers. The last tiles read into the padding of the stride.
void mirror(int8_t* gram, int64_t stride, int64_t from, int64_t to) {
  for (int64_t p = 0; p < from; p += 16) {
    for (int64_t q = from; q < to; q += 16) {
      Bytes row[16];
      for (int64_t k = 0; k < 16; ++k) std::memcpy(&row[k], gram + std::min(q + k, to - 1) * stride + p, 16);
      transpose(row);
      const int64_t rows = std::min<int64_t>(16, from - p), bytes = std::min<int64_t>(16, to - q);
      for (int64_t k = 0; k < rows; ++k) {
        if (bytes == 16) std::memcpy(gram + (p + k) * stride + q, &row[k], 16);
        else std::memcpy(gram + (p + k) * stride + q, &row[k], static_cast<size_t>(bytes));
      }
    }
  }
}

}  // namespace

WorkingSet::WorkingSet(const LassoDesign& design) : design_(design), kernels_(design.kernels()), position_(design.columns().columns, -1) {}

void WorkingSet::reset(const RowSet& rowSet, bool precise) {
  for (int32_t column : columns_) position_[column] = -1;
  columns_.clear();
  everything_.clear();
  std::fill(weight_.begin(), weight_.end(), 0.0);
  completed_ = marked_ = 0;
  rowSet_ = &rowSet;
  precise_ = precise;
  const bool wide = rowSet.table.entryBytes != 1;
  if (wide != wide_) stride_ = 0;  // the storage of Gram entries is laid out anew
  wide_ = wide;
}

void WorkingSet::add(int32_t column, double weight) {
  const size_t position = columns_.size();
  columns_.push_back(column);
  everything_.push_back(static_cast<int32_t>(position));
  position_[column] = static_cast<int32_t>(position);
  if (weight_.size() <= position) weight_.resize(2 * position + 16, 0.0);
  weight_[position] = weight;
}

void WorkingSet::complete() {
  if (size() == completed_) return;
  if (size() > stride_) grow(size());
  if (wide_) completeIn<int16_t>();
  else completeIn<int8_t>();
}

void WorkingSet::grow(int64_t count) {
  const int64_t grown = (count + count / 2 + 15) / 16 * 16, entryBytes = wide_ ? 2 : 1;
  AlignedVector<int16_t> gram((grown * grown * entryBytes + 1) / 2, 0);
  const uint8_t* from = reinterpret_cast<const uint8_t*>(gram_.data());
  uint8_t* to = reinterpret_cast<uint8_t*>(gram.data());
  for (int64_t p = 0; p < completed_; ++p) std::memcpy(to + p * grown * entryBytes, from + p * stride_ * entryBytes, completed_ * entryBytes);
  gram_ = std::move(gram);
  stride_ = grown;
  for (AlignedVector<float>* values : {&phi_, &psi_, &gradient_, &markedGradient_, &weightFloat_, &products_}) values->resize(grown, 0.0f);
  diagonal_.resize(grown, 1.0f);
  inverse_.resize(grown, 1.0f);
  for (AlignedVector<double>* values : {&preciseGradient_, &weight_, &markedWeight_, &penalty_}) values->resize(grown, 0.0);
}

template <typename Entry>
void WorkingSet::completeIn() {
  const int64_t count = size();
  Entry* gram = reinterpret_cast<Entry*>(gram_.data());
  counts_.resize(count);
  for (int64_t p = completed_; p < count; ++p) {
    const int32_t column = columns_[p];
    if (p + 2 < count) design_.prefetchGramRow(*rowSet_, columns_[p + 2]);
    design_.gramRow(*rowSet_, column, columns_.data(), count, counts_.data(), gram + p * stride_);
    diagonal_[p] = rowSet_->diagonal[column];
    inverse_[p] = 1 / diagonal_[p];
    phi_[p] = rowSet_->phi[column];
    psi_[p] = rowSet_->psi[column];
  }
  mirror(gram, stride_, completed_, count);
  completed_ = count;
}

void WorkingSet::shrink(double floor) {
  std::vector<int32_t> kept;
  for (int64_t p = 0; p < size(); ++p) {
    if (weight_[p] != 0 || std::fabs(static_cast<double>(gradient_[p])) >= floor) kept.push_back(static_cast<int32_t>(p));
  }
  if (static_cast<int64_t>(kept.size()) * 5 > size() * 4) return;
  if (wide_) shrinkIn<int16_t>(kept);
  else shrinkIn<int8_t>(kept);
  for (int32_t column : columns_) position_[column] = -1;
  int64_t marked = 0;
  for (size_t k = 0; k < kept.size(); ++k) {
    const int32_t p = kept[k];
    columns_[k] = columns_[p];
    position_[columns_[k]] = static_cast<int32_t>(k);
    for (AlignedVector<float>* values : {&diagonal_, &inverse_, &phi_, &psi_, &gradient_, &markedGradient_}) (*values)[k] = (*values)[p];
    for (AlignedVector<double>* values : {&weight_, &markedWeight_}) (*values)[k] = (*values)[p];
    marked += p < marked_;
  }
  std::fill(weight_.begin() + static_cast<int64_t>(kept.size()), weight_.end(), 0.0);
  marked_ = marked;
  columns_.resize(kept.size());
  everything_.resize(kept.size());
  completed_ = size();
}

// Rows and columns move towards the front only, so that the copy can be done in place.
template <typename Entry>
void WorkingSet::shrinkIn(const std::vector<int32_t>& kept) {
  Entry* gram = reinterpret_cast<Entry*>(gram_.data());
  for (size_t p = 0; p < kept.size(); ++p) {
    const Entry* from = gram + kept[p] * stride_;
    Entry* to = gram + static_cast<int64_t>(p) * stride_;
    for (size_t q = 0; q < kept.size(); ++q) to[q] = from[kept[q]];
  }
}

template <typename Entry>
DescentSet<Entry> WorkingSet::view() const {
  DescentSet<Entry> set;
  set.size = (size() + 15) / 16 * 16;
  set.stride = stride_;
  set.gram = reinterpret_cast<const Entry*>(gram_.data());
  set.diagonal = diagonal_.data();
  set.inverse = inverse_.data();
  set.phi = phi_.data();
  set.psi = psi_.data();
  set.penalty = penalty_.data();
  return set;
}

void WorkingSet::setGradient(const double* correlation) {
  for (int64_t p = 0; p < size(); ++p) {
    preciseGradient_[p] = correlation[columns_[p]];
    gradient_[p] = static_cast<float>(preciseGradient_[p]);
  }
}

void WorkingSet::deriveGradient(int64_t first, const double* correlationOfTarget) {
  if (first >= size()) return;
  std::copy(weight_.begin(), weight_.begin() + (size() + 15) / 16 * 16, weightFloat_.begin());
  if (wide_) kernels_.products16(view<int16_t>(), first, size(), weightFloat_.data(), products_.data());
  else kernels_.products8(view<int8_t>(), first, size(), weightFloat_.data(), products_.data());
  for (int64_t p = first; p < size(); ++p) {
    gradient_[p] = static_cast<float>(correlationOfTarget[columns_[p]] - static_cast<double>(products_[p - first]));
  }
}

void WorkingSet::extrapolate(double ratio, const double* correlationOfTarget) {
  const int64_t marked = marked_;
  std::vector<int64_t> bent;  // members whose weight cannot go on along the line
  std::vector<double> missing;
  for (int64_t p = 0; p < size(); ++p) {
    const double weight = weight_[p];
    const float gradient = gradient_[p];
    if (p < marked) {
      const double line = weight + ratio * (weight - markedWeight_[p]);
      weight_[p] = weight != 0 && (line > 0) == (weight > 0) ? line : 0.0;
      gradient_[p] += static_cast<float>(ratio) * (gradient - markedGradient_[p]);
      if (weight_[p] != line) {
        bent.push_back(p);
        missing.push_back(weight_[p] - line);
      }
    }
    markedWeight_[p] = weight;
    markedGradient_[p] = gradient;
  }
  marked_ = size();
  if (marked == 0) return;
  for (size_t k = 0; k < bent.size(); ++k) wide_ ? moveGradient<int16_t>(bent[k], missing[k]) : moveGradient<int8_t>(bent[k], missing[k]);
  deriveGradient(marked, correlationOfTarget);  // members that came after the last mark have no line
}

template <typename Entry>
void WorkingSet::moveGradient(int64_t p, double change) {
  const Entry* row = reinterpret_cast<const Entry*>(gram_.data()) + p * stride_;
  const float by = static_cast<float>(change), phi = phi_[p], psi = psi_[p];
  for (int64_t q = 0; q < size(); ++q) gradient_[q] -= by * (static_cast<float>(row[q]) + phi + phi_[q] - psi * psi_[q]);
  gradient_[p] -= by * (diagonal_[p] - 2 * phi + psi * psi);
}

bool WorkingSet::solve(double scale, const float* factor, double tolerance, int64_t maxSweeps, const TaskControl& control) {
  for (int64_t p = 0; p < size(); ++p) penalty_[p] = factor ? scale * static_cast<double>(factor[columns_[p]]) : scale;
  int64_t sweeps = 0;
  while (sweeps < maxSweeps && !control.aborted()) {
    ++sweeps;
    if (sweep(everything_) <= tolerance) return true;
    listActive();
    while (sweeps < maxSweeps && !control.aborted()) {
      ++sweeps;
      if (sweep(active_) <= tolerance) break;
    }
  }
  return false;
}

// product = H x on the members at `positions`
void WorkingSet::multiply(const std::vector<int32_t>& positions, const std::vector<double>& x, std::vector<double>& product) {
  std::fill(weightFloat_.begin(), weightFloat_.end(), 0.0f);
  for (size_t k = 0; k < positions.size(); ++k) weightFloat_[positions[k]] = static_cast<float>(x[k]);
  if (wide_) kernels_.products16(view<int16_t>(), 0, size(), weightFloat_.data(), products_.data());
  else kernels_.products8(view<int8_t>(), 0, size(), weightFloat_.data(), products_.data());
  for (size_t k = 0; k < positions.size(); ++k) product[k] = static_cast<double>(products_[positions[k]]);
}

void WorkingSet::solveLeastSquares(const std::vector<int32_t>& positions, const std::vector<double>& rhs, std::vector<double>& x) {
  const size_t count = positions.size();
  std::vector<double> rest = rhs, scaled(count), direction(count), product(count);
  const auto precondition = [&] {
    for (size_t k = 0; k < count; ++k) scaled[k] = rest[k] * static_cast<double>(inverse_[positions[k]]);
  };
  x.assign(count, 0.0);
  precondition();
  direction = scaled;
  double slope = dot(rest, scaled);
  const double enough = slope * kLeastSquaresResidual * kLeastSquaresResidual;
  for (int64_t step = 0; step < kLeastSquaresSteps && slope > enough; ++step) {
    multiply(positions, direction, product);
    const double curvature = dot(direction, product);
    if (!(curvature > 0)) return;  // rounding noise in a null space
    const double length = slope / curvature;
    for (size_t k = 0; k < count; ++k) {
      x[k] += length * direction[k];
      rest[k] -= length * product[k];
    }
    precondition();
    const double before = slope;
    slope = dot(rest, scaled);
    for (size_t k = 0; k < count; ++k) direction[k] = scaled[k] + slope / before * direction[k];
  }
}

double WorkingSet::sweep(const std::vector<int32_t>& positions) {
  const int64_t count = static_cast<int64_t>(positions.size());
  if (count == 0) return 0;
  const int32_t* list = positions.data();
  double* weight = weight_.data();
  if (precise_) {
    double* gradient = preciseGradient_.data();
    return wide_ ? kernels_.descendPrecise16(view<int16_t>(), count, list, gradient, weight)
                 : kernels_.descendPrecise8(view<int8_t>(), count, list, gradient, weight);
  }
  return static_cast<double>(wide_ ? kernels_.descend16(view<int16_t>(), count, list, gradient_.data(), weight)
                                   : kernels_.descend8(view<int8_t>(), count, list, gradient_.data(), weight));
}

void WorkingSet::listActive() {
  active_.clear();
  for (int64_t p = 0; p < size(); ++p) {
    if (weight_[p] != 0) active_.push_back(static_cast<int32_t>(p));
  }
}

}  // namespace lethe
