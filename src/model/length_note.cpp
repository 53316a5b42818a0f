// Lengths that a model was not made for.
#include "model/length_note.h"

#include "base/error.h"

namespace hypenet {

std::optional<std::string> length_note(std::string_view place, int64_t tokens,
                                       const ModelConfig& config) {
  const int64_t most = config.max_position_embeddings;  // 0 where the config says nothing
  if (most == 0 || tokens <= most) return std::nullopt;
  return concat(place, ": ", tokens, " tokens are more than the ", most,
                " that this model was made for (config.json: max_position_embeddings)");
}

}  // namespace hypenet
