#include <new>
#include <stdexcept>
#include <system_error>

#include "addon/binding.h"
#include "lethe/base/limits.h"

namespace lethe::addon {

Status statusOfException() {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return memoryExhausted("what the call needs");
  } catch (const std::length_error&) {  // of a vector that no memory would hold
    return memoryExhausted("what the call needs");
  } catch (const std::system_error& error) {
    return threadsExhausted(error.what());
  } catch (const std::exception& error) {
    return Status::error("LETHE_NATIVE_FAILED", error.what());
  } catch (...) {
    return Status::error("LETHE_NATIVE_FAILED", "an unknown exception.");
  }
}

}  // namespace lethe::addon
