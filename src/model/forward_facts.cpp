// Unlike to_json it also tells of architectures that are only read.
#include "model/forward_facts.h"

#include "model/mixers/mixer_kind.h"

namespace hypenet {

Json forward_facts(const ModelConfig& config) {
  Json facts = write_fields(config);
  facts["architecture"] = architecture_name(config.architecture);
  facts["turned_size"] = config.turned_size;
  facts["has_float_norms"] = config.has_float_norms;
  facts["feed_forward"] = static_cast<int>(config.blocks.feed_forward);
  facts["has_layer_norms"] = config.blocks.has_layer_norms;
  facts["has_embedding_norm"] = config.blocks.has_embedding_norm;
  for (const MixerKind* kind : kinds_of(config)) {
    if (kind->write) facts[kind->name] = kind->write(config);
  }
  return facts;
}

}  // namespace hypenet
