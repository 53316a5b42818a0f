// Python's string methods on UTF-8, against what CPython gives.
#include "eval/python/python_text.h"

#include <gtest/gtest.h>

namespace hypenet {
namespace {

TEST(PythonText, length_is_in_code_points) {
  EXPECT_EQ(code_points(""), 0);
  EXPECT_EQ(code_points("aé€😀"), 4);
}

TEST(PythonText, white_space_of_unicode_is_stripped) {
  EXPECT_EQ(strip(" \t\n\x1c\u00a0\u2003a b\u3000\r"), "a b");
  EXPECT_EQ(strip(" \n "), "");
  EXPECT_EQ(strip("\u200ba"), "\u200ba");  // no white space to Python
}

TEST(PythonText, capitals_are_the_first_letter_s_alone) {
  EXPECT_EQ(capitalize("the ÉLAN of McCoy"), "The élan of mccoy");
  EXPECT_EQ(capitalize("éa"), "Éa");
  EXPECT_EQ(capitalize(" HE"), " he");
  EXPECT_EQ(capitalize(""), "");
}

TEST(PythonText, replacements_are_not_looked_at_again) {
  EXPECT_EQ(replace_all("a    b", "  ", " "), "a  b");
  EXPECT_EQ(replace_all("= = = = =", "= =", "=="), "== == =");
  EXPECT_EQ(replace_all("none", "x", "y"), "none");
}

TEST(PythonText, words_are_what_white_space_separates) {
  EXPECT_EQ(count_words(""), 1);
  EXPECT_EQ(count_words("one\u2003two \n three"), 3);
  EXPECT_EQ(count_words(" one two\n"), 4);  // an empty piece at each end
}

}  // namespace
}  // namespace hypenet
