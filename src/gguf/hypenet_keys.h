// The keys of a HypeNet in a GGUF file (architecture "hypenet"; docs/formats.md). Only this program
// reads them.
#pragma once

#include "base/json.h"
#include "gguf/gguf_key_list.h"
#include "gguf/gguf_model.h"

namespace hypenet {

/// Of the config.json of a HypeNet what its tensors follow from. `config` has all keys that
/// model/config.h writes, and `sizes` is read of it. Throws Error for recurrent layers other than
/// lightning attention, which have no names in a GGUF file.
HypeNetForm hypenet_form(const Json& config, const GgufSizes& sizes);

/// All keys of "hypenet." that a Transformer has not.
void add_hypenet_keys(const Json& config, const HypeNetForm& form, GgufKeyList& keys);

/// The other way: config.json's keys that a Transformer has not. Throws Error naming the key for
/// values that mean nothing.
Json published_hypenet_keys(const GgufModel& model);

}  // namespace hypenet
