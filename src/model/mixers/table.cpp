// A mixer's row is all that the rest of the program knows of it. Nothing else is in this file, so
// that a program (a test) can link a table of its own.
#include "model/mixers/attention.h"
#include "model/mixers/gdn.h"
#include "model/mixers/kda.h"
#include "model/mixers/lightning.h"
#include "model/mixers/mixer_kind.h"

namespace hypenet {

std::span<const MixerKind* const> mixer_kinds() {
  static constexpr const MixerKind* kKinds[] = {&kAttentionMixer, &kLightningMixer, &kGdnMixer,
                                                &kKdaMixer};
  return kKinds;
}

}  // namespace hypenet
