#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>

#include "bench/bench.h"

namespace lethe::bench {

double secondsOf(const std::function<void()>& work) {
  const auto from = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count();
}

double addTimes(Row& row, std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  const size_t n = seconds.size();
  const double median = (seconds[(n - 1) / 2] + seconds[n / 2]) / 2;
  row.numbers.insert(row.numbers.end(),
                     {{"seconds", median}, {"leastSeconds", seconds.front()}, {"mostSeconds", seconds.back()}, {"trials", static_cast<double>(n)}});
  return median;
}

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    char escaped[8];
    std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(static_cast<unsigned char>(c)));
    if (c == '"' || c == '\\') result += '\\', result += c;
    else if (static_cast<unsigned char>(c) < 0x20) result += escaped;
    else result += c;
  }
  result += '"';
  return result;
}

// JSON has no NaN: null.
std::string toJson(const Row& row) {
  std::string result = "{";
  const auto add = [&](const std::string& name, const std::string& value) {
    if (result.size() > 1) result += ',';
    result += quoted(name);
    result += ':';
    result += value;
  };
  add("name", quoted(row.name));
  for (const auto& [name, text] : row.texts) add(name, quoted(text));
  for (const auto& [name, number] : row.numbers) {
    char digits[40];
    std::snprintf(digits, sizeof digits, "%.9g", number);
    add(name, std::isfinite(number) ? digits : "null");
  }
  if (!row.problem.empty()) add("problem", quoted(row.problem));
  result += '}';
  return result;
}

}  // namespace lethe::bench
