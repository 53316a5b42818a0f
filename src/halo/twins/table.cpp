// Nothing else is in this file, so that a program (a test) can link a table of its own.
#include "halo/twins/gdn.h"
#include "halo/twins/kda.h"
#include "halo/twins/lightning.h"
#include "halo/twins/mamba2.h"
#include "halo/twins/nha.h"
#include "halo/twins/rwkv7.h"
#include "halo/twins/supra.h"

namespace hypenet {

std::span<const TwinRule* const> twin_rules() {
  static constexpr const TwinRule* kRules[] = {
      &kLightningTwin, &kGdnTwin, &kKdaTwin, &kMamba2Twin, &kNhaTwin, &kRwkv7Twin, &kSupraTwin};
  return kRules;
}

}  // namespace hypenet
