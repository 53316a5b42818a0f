// CMake fills in both macros when it configures.
#include "base/version.h"

namespace hypenet {

std::string_view version() { return HYPENET_VERSION; }
std::string_view source_commit() { return HYPENET_COMMIT; }

}  // namespace hypenet
