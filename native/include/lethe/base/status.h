// Errors cross the core/addon border as data: core code never throws on bad input, it returns a Status.
#pragma once
#include <string>

namespace lethe {

struct Status {
  std::string code;  // "LETHE_NOUN_FACT"; empty means success
  std::string message;  // expected, received, what to do

  bool ok() const { return code.empty(); }
  static Status success() { return {}; }
  static Status error(std::string errorCode, std::string text) { return {std::move(errorCode), std::move(text)}; }
};

}  // namespace lethe
