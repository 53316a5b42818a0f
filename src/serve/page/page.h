// The web page to chat on: src/serve/page/index.html, built into the program by
// cmake/EmbedPage.cmake.
#pragma once

#include <string_view>

namespace hypenet {

/// The page, whole: text/html in UTF-8 that asks for no other file.
std::string_view page();

/// The value of the header Content-Security-Policy to send with it: the hashes of its one script
/// and its one style, connections to this server alone, no frames, no HTML made from text.
std::string_view page_policy();

}  // namespace hypenet
