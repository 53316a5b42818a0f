// The word lists in data/ruler, built into the program: one word a line.
#pragma once

#include <string_view>

namespace hypenet {

std::string_view noun_list();
std::string_view adjective_list();
std::string_view verb_list();

}  // namespace hypenet
