// A note's line.
#include "cli/note.h"

#include <iostream>

namespace hypenet {

void print_note(const std::string& text) {
  std::cerr << (text.starts_with("warning: ") ? "hypenet: " : "note: ") << text << std::endl;
}

}  // namespace hypenet
