// Numbers between two bounds, as grammars of their decimal digits.
#pragma once

#include <cstdint>
#include <string>

namespace hypenet {

/// An EBNF expression: the integers from least to most, least <= most.
std::string integers_between(int64_t least, int64_t most);

/// Decimals of numbers that have bounds.
inline constexpr int64_t kBoundedDecimals = 6;
inline constexpr int64_t kBoundedScale = 1'000'000;

/// An EBNF expression: numbers of at most six decimals, without exponent, from least to most
/// millionths, least <= most.
std::string millionths_between(int64_t least, int64_t most);

}  // namespace hypenet
