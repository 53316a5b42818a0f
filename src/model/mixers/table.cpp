// A mixer's row is all that the rest of the program knows of it. Nothing else is in this file, so
// that a program (a test) can link a table of its own.
#include "model/mixers/attention.h"
#include "model/mixers/gdn.h"
#include "model/mixers/jet.h"
#include "model/mixers/kda.h"
#include "model/mixers/lightning.h"
#include "model/mixers/mamba2.h"
#include "model/mixers/mixer_kind.h"
#include "model/mixers/nha.h"
#include "model/mixers/rwkv7.h"
#include "model/mixers/supra.h"

namespace hypenet {

std::span<const MixerKind* const> mixer_kinds() {
  static constexpr const MixerKind* kKinds[] = {&kAttentionMixer, &kLightningMixer, &kGdnMixer,
                                                &kKdaMixer,       &kMamba2Mixer,    &kNhaMixer,
                                                &kRwkv7Mixer,     &kSupraMixer,     &kJetMixer};
  return kKinds;
}

}  // namespace hypenet
