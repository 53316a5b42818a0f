// A warning ends nothing.
#include "cli/length_warning.h"

#include <iostream>

#include "model/length_note.h"

namespace hypenet {

void warn_of_length(std::string_view place, int64_t tokens, const ModelConfig& config) {
  const auto note = length_note(place, tokens, config);
  if (note) std::cerr << "hypenet: warning: " << *note << std::endl;
}

}  // namespace hypenet
