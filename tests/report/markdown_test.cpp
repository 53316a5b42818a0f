// Reports as Markdown, and their images as files.
#include "report/markdown.h"

#include <gmock/gmock.h>

namespace hypenet {
namespace {

using testing::HasSubstr;

Report report() {
  Chart chart{.title = "RULER: niah_single_1", .series = {{"a", {1, 2}, {3, 4}}}};
  return {.title = "Title",
          .subtitle = "About",
          .parts = {Heading{"Tasks"}, std::string("Some text."),
                    Table{{"task", "a|b"}, {{"piqa", "0.5"}, {"short"}}}, chart, chart,
                    Picture{"Facts found, by depth", "<svg/>"}}};
}

TEST(MarkdownTest, has_headings_paragraphs_tables_and_links) {
  EXPECT_EQ(format_markdown(report(), "images"),
            "# Title\n\nAbout\n\n## Tasks\n\nSome text.\n\n| task | a\\|b |\n|---|---:|\n"
            "| piqa | 0.5 |\n| short |  |\n\n"
            "![RULER: niah\\_single\\_1](<images/ruler-niah-single-1.svg>)\n\n"
            "![RULER: niah\\_single\\_1](<images/ruler-niah-single-1-2.svg>)\n\n"
            "![Facts found, by depth](<images/facts-found-by-depth.svg>)\n");
}

TEST(MarkdownTest, text_shows_as_it_is) {
  const std::string odd = "a*b* <i> `c` \\ [d] | &lt;\ne";
  const std::string plain = R"(a\*b\* \<i> \`c\` \\ \[d\] \| \&lt; e)";
  const Chart chart{.title = odd, .series = {{"a", {1}, {1}}}};
  EXPECT_EQ(format_markdown({.title = odd,
                             .subtitle = odd,
                             .parts = {Heading{odd}, odd, Table{{odd}, {{odd}}}, chart}},
                            "images"),
            "# " + plain + "\n\n" + plain + "\n\n## " + plain + "\n\n" + plain + "\n\n| " + plain +
                " |\n|---|\n| " + plain + " |\n\n![" + plain + "](<images/a-b-i-c-d-lt-e.svg>)\n");
}

TEST(MarkdownTest, has_no_links_without_a_folder) {
  EXPECT_THAT(format_markdown(report(), ""), testing::Not(HasSubstr("![")));
}

TEST(MarkdownTest, images_have_the_names_that_the_links_have) {
  const auto images = report_images(report());
  ASSERT_EQ(images.size(), 3U);
  EXPECT_EQ(images[0].file, "ruler-niah-single-1.svg");
  EXPECT_EQ(images[1].file, "ruler-niah-single-1-2.svg");
  EXPECT_EQ(images[2].file, "facts-found-by-depth.svg");
  EXPECT_THAT(images[0].svg, HasSubstr("</svg>"));
  EXPECT_EQ(images[2].svg, "<svg/>");
}

}  // namespace
}  // namespace hypenet
