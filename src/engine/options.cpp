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

}  // namespace hypenet
