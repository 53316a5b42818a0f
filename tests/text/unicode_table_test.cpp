// The pinned table against facts of Unicode 16.
#include "text/unicode_table.h"

#include <gtest/gtest.h>

namespace hypenet {
namespace {

int64_t count(const CodeSet& set) {
  int64_t codes = 0;
  for (const CodeRange& range : set.ranges()) codes += range.last - range.first + 1;
  return codes;
}

TEST(UnicodeTable, categories_part_the_code_points) {
  int64_t all = 0;
  for (const char* name :
       {"Cc", "Cf", "Cn", "Co", "Ll", "Lm", "Lo", "Lt", "Lu", "Mc", "Me", "Mn", "Nd", "Nl", "No",
        "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "Sc", "Sk", "Sm", "So", "Zl", "Zp", "Zs"}) {
    all += count(named_code_set(name).value());
  }
  EXPECT_EQ(all, 0x110000 - 0x800) << "all but the surrogates";
  EXPECT_EQ(count(*named_code_set("L")), 141028);
  EXPECT_EQ(count(*named_code_set("Han")), 99030);
  EXPECT_EQ(named_code_set("Hani"), named_code_set("h-an"));
}

TEST(UnicodeTable, an_unknown_name_has_no_set) {
  for (const char* name : {"", "=9", "Age=15.0", "Nonsense", "L L M"}) {
    EXPECT_EQ(named_code_set(name), std::nullopt) << name;
  }
}

TEST(UnicodeTable, cases_close_over_their_group) {
  EXPECT_EQ(case_closure(CodeSet{{'k', 'k'}}), (CodeSet{{'K', 'K'}, {'k', 'k'}, {0x212A, 0x212A}}));
  EXPECT_TRUE(has_long_case_fold(CodeSet{{0xDF, 0xDF}}));
  EXPECT_FALSE(has_long_case_fold(CodeSet{{'a', 'z'}}));
}

TEST(CodeSet, sets_are_sorted_and_closed_under_their_operations) {
  CodeSet set{{10, 20}, {1, 3}, {4, 5}, {18, 30}};
  EXPECT_EQ(set, (CodeSet{{1, 5}, {10, 30}}));
  EXPECT_EQ(set.complement().complement(), set);
  EXPECT_TRUE(set.intersection(set.complement()).is_empty());
  EXPECT_EQ(set.intersection(CodeSet{{5, 12}}), (CodeSet{{5, 5}, {10, 12}}));
  EXPECT_TRUE(set.contains(10) && !set.contains(9));
  EXPECT_EQ(CodeSet{}.complement(), (CodeSet{{0, kLastCode}}));
}

}  // namespace
}  // namespace hypenet
