// Nothing else is in this file, so that a program (a test) can link a table of its own.
#include "halo/twins/gdn.h"
#include "halo/twins/kda.h"
#include "halo/twins/lightning.h"

namespace hypenet {

std::span<const TwinRule* const> twin_rules() {
  static constexpr const TwinRule* kRules[] = {&kLightningTwin, &kGdnTwin, &kKdaTwin};
  return kRules;
}

}  // namespace hypenet
