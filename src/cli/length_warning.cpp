// A warning ends nothing.
#include "cli/length_warning.h"

#include "cli/note.h"
#include "model/length_note.h"

namespace hypenet {

void warn_of_length(std::string_view place, int64_t tokens, const ModelConfig& config) {
  const auto note = length_note(place, tokens, config);
  if (note) print_note("warning: " + *note);
}

}  // namespace hypenet
