// The byte-level alphabet of GPT-2: every byte has one printable character, so that a vocabulary
// file is text.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace hypenet {

/// The bytes that a vocabulary entry stands for; nullopt when a character is not of the alphabet.
std::optional<std::string> bytes_of_entry(std::string_view entry);

/// The character of one byte, as UTF-8.
std::string entry_of_byte(unsigned char byte);

}  // namespace hypenet
