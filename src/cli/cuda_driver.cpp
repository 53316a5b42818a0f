// Functions of the driver's interface (cuda.h of any version since 11) by their names.
#include "cli/cuda_driver.h"

#include <dlfcn.h>

#include <array>
#include <cstddef>

#include "base/error.h"

namespace hypenet {
namespace {

constexpr int kMajor = 75, kMinor = 76;  // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*

/// Never closed: a driver that was started does not like to go.
class Library {
 public:
  explicit Library(const char* name) : handle_(::dlopen(name, RTLD_NOW | RTLD_LOCAL)) {}
  bool is_open() const { return handle_ != nullptr; }

  /// Throws Error with the number that the driver answers, where that is not 0.
  template <class... Arguments>
  void call(const char* name, Arguments... arguments) const {
    using Function = int (*)(Arguments...);
    const auto function = reinterpret_cast<Function>(::dlsym(handle_, name));
    HYPENET_CHECK(function != nullptr, name, ": expected in the driver's library, found none");
    const int status = function(arguments...);
    HYPENET_CHECK(status == 0, name, ": expected 0, found error ", status);
  }

 private:
  void* handle_;
};

Gpu read_gpu(const Library& library, int number) {
  Gpu gpu;
  int device = 0;
  size_t bytes = 0;
  std::array<char, 256> name{};
  library.call("cuDeviceGet", &device, number);
  library.call("cuDeviceGetName", name.data(), static_cast<int>(name.size()) - 1, device);
  library.call("cuDeviceTotalMem_v2", &bytes, device);
  library.call("cuDeviceGetAttribute", &gpu.major, kMajor, device);
  library.call("cuDeviceGetAttribute", &gpu.minor, kMinor, device);
  gpu.name = name.data(), gpu.bytes = static_cast<int64_t>(bytes);
  return gpu;
}

}  // namespace

CudaDriver find_cuda_driver(const char* name) {
  const Library library(name);
  CudaDriver driver{.is_there = library.is_open()};
  if (!driver.is_there) return driver;
  try {
    library.call("cuDriverGetVersion", &driver.version);
    library.call("cuInit", 0U);
    int count = 0;
    library.call("cuDeviceGetCount", &count);
    for (int i = 0; i < count; ++i) driver.gpus.push_back(read_gpu(library, i));
  } catch (const Error& error) {
    driver.fault = error.what();
  }
  return driver;
}

}  // namespace hypenet
