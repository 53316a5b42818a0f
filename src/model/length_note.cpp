// Lengths that a model was not made for.
#include "model/length_note.h"

#include "base/error.h"

namespace hypenet {

std::optional<std::string> length_note(std::string_view place, int64_t tokens,
                                       const ModelConfig& config) {
  if (tokens <= config.max_position_embeddings) return std::nullopt;
  return concat(place, ": ", tokens, " tokens are more than the ", config.max_position_embeddings,
                " that this model was made for (config.json: max_position_embeddings)");
}

}  // namespace hypenet
