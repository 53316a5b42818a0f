// The interpreter prints what jinja2 prints (tools/write_jinja_fixtures.py); faults name their
// place; no template costs more than it may.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "tests/support/expect_error.h"
#include "text/jinja/template.h"

namespace hypenet {
namespace {

using testing::HasSubstr;

const Json& fixture() {
  static const Json kFixture =
      read_json(std::filesystem::path(HYPENET_TEST_DATA) / "chat" / "jinja.json");
  return kFixture;
}

std::string render(const std::string& text, const JinjaVariables& variables = {}) {
  return join_pieces(JinjaTemplate::parse(text, "x").render(variables));
}

/// The error's text; empty: there is none.
std::string error_of(const std::string& text, const JinjaVariables& variables = {}) {
  try {
    render(text, variables);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

JinjaVariables fixture_variables() {
  JinjaVariables variables;
  variables.given = fixture()["variables"];
  const Json& now = fixture()["now"];
  variables.now.tm_year = now[0].get<int>() - 1900;
  variables.now.tm_mon = now[1].get<int>() - 1;
  variables.now.tm_mday = now[2].get<int>();
  variables.now.tm_hour = now[3].get<int>();
  variables.now.tm_min = now[4].get<int>();
  variables.now.tm_sec = now[5].get<int>();
  variables.now.tm_isdst = -1;
  std::mktime(&variables.now);
  return variables;
}

TEST(JinjaTest, prints_what_jinja2_prints) {
  const JinjaVariables variables = fixture_variables();
  ASSERT_GT(fixture()["cases"].size(), 500U);
  for (const Json& item : fixture()["cases"]) {
    const std::string text = item["template"].get<std::string>();
    if (item.contains("error")) {
      EXPECT_NE(error_of(text, variables), "") << text;
      continue;
    }
    try {
      EXPECT_EQ(render(text, variables), item["text"].get<std::string>()) << text;
    } catch (const Error& error) {
      ADD_FAILURE() << text << "\n" << error.what();
    }
  }
}

TEST(JinjaTest, pieces_tell_the_templates_text_from_what_was_given) {
  JinjaVariables variables;
  variables.own = {{"eos", "<e>"}};
  variables.given["messages"] = Json::array({{{"role", "user"}, {"content", " a<e>\n\"b\" "}}});
  const auto marked = [&](const std::string& text) {
    std::string result;
    for (const JinjaPiece& piece : JinjaTemplate::parse(text, "x").render(variables)) {
      EXPECT_EQ(piece.message, piece.is_given ? 0 : -1);
      result += piece.is_given ? "[" + piece.text + "]" : piece.text;
    }
    return result;
  };
  const std::string in = "{% for m in messages %}", out = "{% endfor %}";
  EXPECT_EQ(marked(in + "<{{ m.role }}>{{ m.content }}{{ eos }}" + out),
            "<user>[ a<e>\n\"b\" ]<e>");
  EXPECT_EQ(marked(in + "{{ ('<' + m.content | trim + '>').split('e') }}" + out),
            "['<[a<]', '[>\\n\"b\"]>']");
  EXPECT_EQ(marked(in + "{{ m.content | tojson }}" + out), "\"[ a<e>\\n\\\"b\\\" ]\"");
  EXPECT_EQ(marked(in + "{% set x %}<{{ m.content[1:4] | upper }}>{% endset %}{{ x }}" + out),
            "<[A<E]>");
  EXPECT_EQ(marked(in + "{{ m.content.replace('<e>', '<f>') | trim }}" + out), "[a]<f>[\n\"b\"]");
  EXPECT_EQ(marked("{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f(messages[0].content[1]) * 2 }}"),
            "<[a]><[a]>");
  variables.given["messages"][0]["role"] = "<e>";
  EXPECT_EQ(marked(in + "{{ m.role }}" + out), "[<e>]");
}

TEST(JinjaErrors, name_line_and_column) {
  EXPECT_EQ(error_of("a\n {% if x %}"),
            "x:2:12: expected an end of the tag ({% endif %}), found none");
  EXPECT_EQ(error_of("{{ a b }}"), "x:1:6: expected the end of the print (}}), found \"b\"");
  EXPECT_EQ(error_of("{{ 1 +"), "x:1:1: expected an end of the tag (}}), found none");
  EXPECT_EQ(error_of("\u00e9{{ 'a }}"), "x:1:5: expected an end of the string, found none");
  EXPECT_EQ(error_of("{# a"), "x:1:1: expected an end of the comment (#}), found none");
  EXPECT_EQ(error_of("{% raw %}a"),
            "x:1:1: expected an end of the tag raw ({% endraw %}), found none");
  EXPECT_EQ(error_of("{{ (1] }}"), "x:1:6: expected \")\", found \"]\"");
  EXPECT_EQ(error_of("{{ ? }}"), "x:1:4: expected a word of an expression, found \"?\"");
  EXPECT_EQ(error_of("{{ }}"), "x:1:4: expected an expression, found the end of the print (}})");
  EXPECT_EQ(error_of("{% for x of y %}"), "x:1:10: expected \"in\", found \"of\"");
  EXPECT_EQ(error_of("{% break %}"),
            "x:1:4: expected break and continue inside a loop, found none around it");
  EXPECT_EQ(error_of("{% set true = 1 %}"),
            "x:1:8: expected a name to set, found another expression");
  EXPECT_EQ(error_of("{{ 99999999999999999999 }}"),
            "x:1:4: expected a number of 64 bits, found \"99999999999999999999\"");
  EXPECT_EQ(error_of("a\n{{ b.c }}"), "x:2:6: 'b' is undefined");
  EXPECT_EQ(error_of("{{ {}.c.d }}"), "x:1:9: 'dict object' has no attribute 'c'");
  EXPECT_EQ(error_of("{{ raise_exception('No system!') }}"), "x:1:4: No system!");
}

TEST(JinjaErrors, name_what_is_not_known_before_anything_is_printed) {
  const auto refusal = [](const std::string& text) {
    EXPECT_ANY_THROW(JinjaTemplate::parse(text, "x")) << text;
    return error_of(text);
  };
  EXPECT_EQ(refusal("{% include 'a' %}"), "x:1:4: expected a known tag, found \"include\"");
  EXPECT_EQ(refusal("{{ a | b64 }}"), "x:1:8: expected a known filter, found \"b64\"");
  EXPECT_EQ(refusal("{{ a is odder }}"), "x:1:9: expected a known test, found \"odder\"");
  EXPECT_EQ(refusal("{{ lipsum() }}"), "x:1:4: expected a known function, found \"lipsum\"");
  EXPECT_EQ(refusal("{{ a.format(1) }}"), "x:1:6: expected a known method, found \"format\"");
  EXPECT_EQ(refusal("{{ a | map('b64') }}"), "x:1:12: expected a known filter, found \"b64\"");
  EXPECT_EQ(refusal("{{ a | selectattr('x', 'odder') }}"),
            "x:1:24: expected a known test, found \"odder\"");
  EXPECT_EQ(refusal("{{ a | trim(1, 2) }}"), "x:1:8: trim: expected at most 1 arguments, found 2");
  EXPECT_EQ(refusal("{{ a | tojson(x=2) }}"), "x:1:8: tojson: expected no argument x");
  EXPECT_EQ(refusal("{{ a | replace('b') }}"),
            "x:1:8: replace: expected an argument new, found none");
  EXPECT_EQ(refusal("{% endfor %}"), "x:1:4: expected a known tag, found \"endfor\"");
}

TEST(JinjaLimits, of_the_template) {
  const std::string most(1 << 20, 'a');
  EXPECT_EQ(render(most).size(), most.size());
  EXPECT_EQ(error_of(most + "a"), "x: expected a template of at most 1048576 bytes, found 1048577");
  const auto nested = [](size_t depth, const std::string& left, const std::string& right) {
    std::string text;
    for (size_t i = 0; i < depth; ++i) text += left;
    for (size_t i = 0; i < depth; ++i) text += right;
    return text;
  };
  const std::string deep = "nested at most 200 deep";
  EXPECT_EQ(error_of(nested(150, "{% if 1 %}", "{% endif %}")), "");
  EXPECT_THAT(error_of(nested(250, "{% if 1 %}", "{% endif %}")), HasSubstr(deep));
  EXPECT_THAT(error_of("{{ " + nested(9999, "(", ")") + " }}"), HasSubstr(deep));
  EXPECT_THAT(error_of("{{ " + nested(9999, "-", "") + "1 }}"), HasSubstr(deep));
  EXPECT_THAT(error_of("{{ " + nested(9999, "not ", "") + "1 }}"), HasSubstr(deep));
  EXPECT_THAT(error_of("{{ 1" + nested(9999, " + 1", "") + " }}"), HasSubstr(deep));
  EXPECT_THAT(error_of("{{ a" + nested(9999, ".a", "") + " }}"), HasSubstr(deep));
  EXPECT_THAT(error_of("{{ a" + nested(9999, "|trim", "") + " }}"), HasSubstr(deep));
  EXPECT_THAT(error_of("{{ " + nested(9999, "[", "]") + " }}"), HasSubstr(deep));
  EXPECT_THAT(error_of("{{ 1" + nested(9999, " if 1 else 1", "") + " }}"), HasSubstr(deep));
}

TEST(JinjaLimits, of_a_rendering) {
  const std::string ten = "{% for i in range(1000) %}{% for j in range(1000) %}";
  EXPECT_EQ(render(ten + "{% endfor %}{% endfor %}", {.limits = {.turns = 1'001'000}}), "");
  EXPECT_THAT(error_of(ten + "{% endfor %}{% endfor %}"),
              HasSubstr("at most 1000000 turns of its loops, found more"));
  EXPECT_THAT(error_of("{{ 'a' * 67108865 }}"), HasSubstr("at most 67108864 bytes of text"));
  EXPECT_THAT(error_of("{% set a = 'a' * 33554432 %}{{ a }}{{ a }}b"),
              HasSubstr("at most 67108864 bytes of text"));
  EXPECT_THAT(error_of("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
              HasSubstr("calls within calls at most 1000 deep"));
  EXPECT_THAT(error_of("{% set ns = namespace(a=[1]) %}{% for i in range(90) %}"
                       "{% set ns.a = ns.a + ns.a %}{% endfor %}"),
              HasSubstr("at most 4000000 list items"));
  EXPECT_THAT(error_of("{% set ns = namespace(a=1) %}{% for i in range(9999) %}"
                       "{% set ns.a = [ns.a] %}{% endfor %}"),
              HasSubstr("nested at most 1000 deep"));
  EXPECT_THAT(error_of("{% set ns = namespace(a=1) %}{% for i in range(99) %}"
                       "{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ns.a }}"),
              HasSubstr("expected a template that needs at most"));
  EXPECT_THAT(error_of("{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}"),
              HasSubstr("nested less deeply"));
  EXPECT_THAT(error_of("{{ strftime_now('%9999999d') }}"), HasSubstr("a date of at most"));
}

}  // namespace
}  // namespace hypenet
