// Texts in a row.
#pragma once

#include <iterator>
#include <string>
#include <string_view>

namespace hypenet {

/// "a, b, c": the texts of a container, with `between` between each two.
template <class Texts>
std::string join(const Texts& texts, std::string_view between) {
  std::string all;
  for (const auto& text : texts) {
    if (&text != &*std::begin(texts)) all += between;
    all += text;
  }
  return all;
}

}  // namespace hypenet
