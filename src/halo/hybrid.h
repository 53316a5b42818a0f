// HALO step 2, first half: the hybrid is built from the teacher and the aligned twins.
#pragma once

#include <vector>

#include "halo/transfer.h"

namespace hypenet {

/// All tensors of the hybrid: layers in `attention_layers` keep the teacher's attention and get an
/// o_gate, the others take their twin from `aligned`; everything else is the teacher's. In
/// `aligned`'s types.
NamedTensors hybrid_weights(const Checkpoint& teacher, const Checkpoint& aligned,
                            const std::vector<int64_t>& attention_layers,
                            const TransferOptions& options);

/// mixer_types of L layers with attention at `attention_layers` and the named twins elsewhere.
/// Throws Error for a layer outside 0 .. L-1, and a mixer without a rule.
std::vector<const MixerKind*> mixer_types(int64_t layers,
                                          const std::vector<int64_t>& attention_layers,
                                          std::string_view mixer = twin_rules()[0]->mixer->name);

/// The same with a twin of its own name for each layer.
std::vector<const MixerKind*> mixer_types(const std::vector<std::string>& mixers,
                                          const std::vector<int64_t>& attention_layers);

}  // namespace hypenet
