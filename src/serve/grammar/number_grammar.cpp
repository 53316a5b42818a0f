// A number is at least another of as many digits if the first digit in which they differ is larger;
// all below is that sentence.
#include "serve/grammar/number_grammar.h"

#include <string_view>
#include <vector>

#include "base/error.h"

namespace hypenet {

namespace {

using Choices = std::vector<std::string>;

std::string one_of(const Choices& choices) {
  std::string joined = "(";
  for (const std::string& choice : choices) {
    if (joined.size() > 1) joined += " | ";
    joined += choice.empty() ? "\"\"" : choice;
  }
  return joined + ")";
}

std::string exactly(std::string_view digits) { return concat("\"", digits, "\""); }

/// From `least` to `most` of them.
std::string any_digits(size_t least, size_t most) {
  return most == 0 ? "" : concat(" [0-9]{", least, ",", most, "}");
}

std::string digits_from_to(char least, char most) { return concat("[", least, "-", most, "]"); }

// Strings of as many digits as the bound.

std::string at_least(std::string_view bound) {
  if (bound.empty()) return "\"\"";
  if (bound.find_first_not_of('0') == bound.npos) return any_digits(bound.size(), bound.size());
  const std::string_view rest = bound.substr(1);
  Choices choices{concat(exactly(bound.substr(0, 1)), " ", at_least(rest))};
  if (bound[0] < '9') {
    choices.push_back(digits_from_to(static_cast<char>(bound[0] + 1), '9') +
                      any_digits(rest.size(), rest.size()));
  }
  return one_of(choices);
}

std::string at_most(std::string_view bound) {
  if (bound.empty()) return "\"\"";
  if (bound.find_first_not_of('9') == bound.npos) return any_digits(bound.size(), bound.size());
  const std::string_view rest = bound.substr(1);
  Choices choices{concat(exactly(bound.substr(0, 1)), " ", at_most(rest))};
  if (bound[0] > '0') {
    choices.push_back(digits_from_to('0', static_cast<char>(bound[0] - 1)) +
                      any_digits(rest.size(), rest.size()));
  }
  return one_of(choices);
}

std::string of_one_length(std::string_view least, std::string_view most) {
  if (least == most) return exactly(least);
  size_t same = 0;
  while (least[same] == most[same]) ++same;
  const size_t behind = least.size() - same - 1;
  Choices choices{concat(exactly(least.substr(same, 1)), " ", at_least(least.substr(same + 1))),
                  concat(exactly(most.substr(same, 1)), " ", at_most(most.substr(same + 1)))};
  if (least[same] + 1 < most[same]) {
    choices.push_back(
        digits_from_to(static_cast<char>(least[same] + 1), static_cast<char>(most[same] - 1)) +
        any_digits(behind, behind));
  }
  return concat(exactly(least.substr(0, same)), " ", one_of(choices));
}

std::string naturals_between(int64_t least, int64_t most) {
  const std::string first = std::to_string(least), last = std::to_string(most);
  if (first.size() == last.size()) return of_one_length(first, last);
  Choices choices{of_one_length(first, std::string(first.size(), '9')),
                  of_one_length(concat("1", std::string(last.size() - 1, '0')), last)};
  if (last.size() > first.size() + 1) {  // any number of the lengths between
    choices.push_back(concat("[1-9]", any_digits(first.size(), last.size() - 2)));
  }
  return one_of(choices);
}

// Decimals: what stands behind the point, 1 to 6 digits. Bounds are six digits.

constexpr size_t kDigits = kBoundedDecimals;

std::string without_last_zeros(std::string_view digits) {
  return std::string(digits.substr(0, digits.find_last_not_of('0') + 1));
}

std::string six_digits(int64_t millionths) {
  const std::string digits = std::to_string(kBoundedScale + millionths);
  return digits.substr(1);
}

/// The digits from place `at` on, none of them or more, where the rest of the bound is `bound`.
std::string decimals_at_least(std::string_view bound, size_t at) {
  if (bound.empty()) return at == kDigits ? "\"\"" : any_digits(at == 0 ? 1 : 0, kDigits - at);
  Choices choices{
      concat(exactly(bound.substr(0, 1)), " ", decimals_at_least(bound.substr(1), at + 1))};
  if (bound[0] < '9') {
    choices.push_back(digits_from_to(static_cast<char>(bound[0] + 1), '9') +
                      any_digits(0, kDigits - at - 1));
  }
  return one_of(choices);
}

std::string decimals_at_most(std::string_view bound, size_t at) {
  if (bound.empty())
    return at == kDigits ? "\"\"" : concat("\"0\"{", at == 0, ",", kDigits - at, "}");
  Choices choices{
      concat(exactly(bound.substr(0, 1)), " ", decimals_at_most(bound.substr(1), at + 1))};
  if (bound[0] > '0') {
    choices.push_back(digits_from_to('0', static_cast<char>(bound[0] - 1)) +
                      any_digits(0, kDigits - at - 1));
  }
  if (at > 0) choices.emplace_back("\"\"");
  return one_of(choices);
}

/// Both bounds six digits, least < most.
std::string decimals_between(std::string_view least, std::string_view most) {
  size_t same = 0;
  while (least[same] == most[same]) ++same;
  Choices choices{concat(exactly(least.substr(same, 1)), " ",
                         decimals_at_least(without_last_zeros(least.substr(same + 1)), same + 1)),
                  concat(exactly(most.substr(same, 1)), " ",
                         decimals_at_most(without_last_zeros(most.substr(same + 1)), same + 1))};
  if (least[same] + 1 < most[same]) {
    choices.push_back(
        digits_from_to(static_cast<char>(least[same] + 1), static_cast<char>(most[same] - 1)) +
        any_digits(0, kDigits - same - 1));
  }
  if (same > 0 && without_last_zeros(least.substr(same)).empty()) choices.emplace_back("\"\"");
  return concat(exactly(least.substr(0, same)), " ", one_of(choices));
}

/// Not negative.
std::string amounts_between(int64_t least, int64_t most) {
  const int64_t first = least / kBoundedScale, last = most / kBoundedScale;
  const std::string from = six_digits(least % kBoundedScale), to = six_digits(most % kBoundedScale);
  const std::string from_cut = without_last_zeros(from), to_cut = without_last_zeros(to);
  Choices choices;
  if (from_cut.empty()) choices.push_back(exactly(std::to_string(first)));
  if (first == last) {
    const std::string digits = from == to ? concat(exactly(from_cut), " \"0\"{", from_cut.empty(),
                                                   ",", kDigits - from_cut.size(), "}")
                                          : decimals_between(from, to);
    choices.push_back(concat(exactly(std::to_string(first)), " \".\" ", digits));
    return one_of(choices);
  }
  choices.push_back(
      concat(exactly(std::to_string(first)), " \".\" ", decimals_at_least(from_cut, 0)));
  if (first + 1 < last) {
    choices.push_back(
        concat(naturals_between(first + 1, last - 1), " (\".\" [0-9]{1,", kDigits, "})?"));
  }
  choices.push_back(
      concat(exactly(std::to_string(last)), " (\".\" ", decimals_at_most(to_cut, 0), ")?"));
  return one_of(choices);
}

using Between = std::string (*)(int64_t, int64_t);

std::string with_sign(int64_t least, int64_t most, Between between) {
  Choices choices;
  if (least < 0) choices.push_back(concat("\"-\" ", between(most < 0 ? -most : 1, -least)));
  if (most >= 0) choices.push_back(between(least < 0 ? 0 : least, most));
  return one_of(choices);
}

}  // namespace

std::string integers_between(int64_t least, int64_t most) {
  return with_sign(least, most, naturals_between);
}

std::string millionths_between(int64_t least, int64_t most) {
  return with_sign(least, most, amounts_between);
}

}  // namespace hypenet
