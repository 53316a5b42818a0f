// Names for what users read.
#include "engine/options.h"

#include "base/error.h"

namespace hypenet {

std::string_view to_string(FinishReason reason) {
  switch (reason) {
    case FinishReason::kNone:
      return "none";
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kNotFinite:
      return "not finite";
    case FinishReason::kNoToken:
      return "no token";
  }
  throw Error("answer: unknown reason");
}

std::string_view to_string(ReuseMode mode) {
  switch (mode) {
    case ReuseMode::kExact:
      return "exact";
    case ReuseMode::kNearest:
      return "nearest";
    case ReuseMode::kOff:
      return "off";
  }
  throw Error("reuse: unknown mode");
}

std::string_view to_string(CacheTier tier) {
  switch (tier) {
    case CacheTier::kNone:
      return "none";
    case CacheTier::kDevice:
      return "gpu";
    case CacheTier::kHost:
      return "host";
    case CacheTier::kDisk:
      return "disk";
  }
  throw Error("reuse: unknown tier");
}

std::string_view to_string(ReuseMiss miss) {
  switch (miss) {
    case ReuseMiss::kNone:
      return "none";
    case ReuseMiss::kShort:
      return "short";
    case ReuseMiss::kNoSnapshot:
      return "no_snapshot";
    case ReuseMiss::kEvicted:
      return "evicted";
    case ReuseMiss::kSalt:
      return "salt";
    case ReuseMiss::kOff:
      return "off";
  }
  throw Error("reuse: unknown reason");
}

bool is_costly(const PromptReport& report) {
  constexpr int64_t kLong = 2048, kAlike = 1024;
  return report.miss != ReuseMiss::kNone && report.prompt > kLong && report.alike > kAlike;
}

}  // namespace hypenet
