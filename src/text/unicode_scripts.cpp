// Scripts of Unicode 16.
// Written by tools/write_unicode_tables.py; text/unicode_table.cpp reads it.
#include "text/unicode_table.h"

namespace hypenet::unicode_table {

// clang-format off
constexpr PackedSet kScriptsList[] = {
    {"adlam adlm", "go6DrCEJEB"},
    {"ahom", "g4lCaCOEW"},
    {"anatolianhieroglyphs hluw", "ggxCmS"},
    {"arab arabic",
     "gwBEBFBNBCBfBJLZBrDBhBwCvBwHeBBFqCBcwy8ByDQqLCvCC1BHAgBPwDEBmEj7DejCC3BDg43BDBaBBBACABJBDBABA"
     "GAEABABABCBBBACABABABABABBBACDBGBDBDBABJBQFCBEBQ0BB"},
    {"armenian armn", "xpBlBCxBCCjs9BE"},
    {"avestan avst", "g4iC1BDG"},
    {"bali balinese", "g4GsCBxB"},
    {"bamu bamum", "g1pB3CoowB4R"},
    {"bass bassavah", "w26CdCF"},
    {"batak batk", "g+GzBID"},
    {"beng bengali", "gsCDBHCBCVBGBADDCICBCDIAEBBECY"},
    {"bhaiksuki bhks", "ggnCIBsBBNKc"},
    {"bopo bopomofo", "qXB5wLqBwDf"},
    {"brah brahmi", "ggkCtCEjBJA"},
    {"brai braille inbraillepatterns", "ggK-H"},
    {"bugi buginese", "gwGbCB"},
    {"buhd buhid", "g6FT"},
    {"canadianaboriginal cans", "ggF-TwRlC6tgCP"},
    {"cari carian", "g1gCwB"},
    {"aghb caucasianalbanian", "wphCzBLA"},
    {"cakm chakma", "gokC0BBR"},
    {"cham", "gwqB2BJNCJCD"},
    {"cher cherokee", "g9E1CCFy7lBvC"},
    {"chorasmian chrs", "w9jCb"},
    {"common zyyy",
     "AgCaFauBBOBEXAfAhOmBFECT0DAJAGABA9TAGAOADAgBA8EAkQAhEB5mBA1MDiJAvvBCnCBrGBBAtmBANAHDBFBCCAlYL"
     "C2CBKDKBORgB-BlBBCCFBaBQpBCE5UWKV-cgIzTCfBoDgQ9CyMUBABYPHED7CBDA6CBzEPgBlBJAwB-BfwCvBA4CnFguG"
     "-BgoWhBmDClFJ0HAgFArMAOByuUBwGJWiBBSBDzEABfaFaKKAtBBgCGBGKEiICEsBDIwCMzBsBkHaktuBD86D5HGzN8Ez"
     "D8B1HKmBC9BDQIBHdE8B1GTMTM2CJYnE0CBmCBBCACBCDBLBABGBgCBDCHBGBbBDBEBADGBzKCjJCxBxjFjCsC8BiWrBE"
     "jDMOCOBOBkBKtF4BZBBNrBEIHBOF6E3eEQDMD2DE+CGLEAPLE3BIJGnBIdCLEB+BzKMNCMDJF3BHOCKGIHyEBlDnghYAe"
     "-C"},
    {"copt coptic qaac", "ifNwkKzDFG"},
    {"cuneiform xsux", "ggoC5cmDuDBELjG"},
    {"cprt cypriot", "ggiCFCABrBBBDACA"},
    {"cpmn cyprominoan", "w8rCiD"},
    {"cyrillic cyrl", "ggBkECoFw6FKgFAsCAnjEfgie-Cu8VBgw4B9BhBA"},
    {"deseret dsrt indeseret", "gghCvC"},
    {"deva devanagari", "goCwCEOCZg7nBfgwcJ"},
    {"diak divesakuru", "gomCGCACHBBBdBBCLJJ"},
    {"dogr dogra", "ggmC7B"},
    {"dupl duployan", "ggvDqDFMDIHJCD"},
    {"egyp egyptianhieroglyphs", "ggsC1iBK68D"},
    {"elba elbasan", "gohCnB"},
    {"elym elymaic", "g-jCW"},
    {"ethi ethiopic",
     "gwEoCBDCGBABDCoBBDCgBBDCGBABDCOB4BBDCiCCfDZmvGWJGBGBGBGBGBGBGBGipfFCFCFJGBGxlvCGBDBBBO"},
    {"gara garay", "gqjClBDcIB"},
    {"geor georgian", "glElBBAFACqBBDw8CqBCCgiElBBAFA"},
    {"glag glagolitic", "ggL-Cg9sDGBQCGBBBE"},
    {"goth gothic", "w5gCa"},
    {"gran grantha", "g4kCDBHCBCVBGBBBECICBCCCAGAFGCGDE"},
    {"greek grek",
     "wbDBCCDBAEABABCBABTB+BOPmpGEyBEEE0CAgKVCFClBCFCHBABABABeC0BBOBNCFBSCCBInJA+xiBA6uVuCRA-i0BlC"},
    {"gujarati gujr", "h0CCBIBCBVBGBBBECJBCBCCAPDCLHG"},
    {"gong gunjalagondi", "grnCFBBBkBBBBFHJ"},
    {"gurmukhi guru", "hwCCBFEBCVBGBBBBBBCABEEBCCDAHDBAHQ"},
    {"gukh gurungkhema", "go4C5B"},
    {"han hani",
     "g0LZB4CM1GvBABAZIODke-tGgC-vUgoWtLCpDoodBMBugkB-2pBgB5hEG9GCh0FOwpHPtTitC9QivBq6EF-iE"},
    {"hang hangul", "goE-HuxHBhI9CxDehCeh3dcjUj9KMWEwBk9JeDFCFCFCC"},
    {"hanifirohingya rohg", "gojCnBIJ"},
    {"hano hanunoo", "g5FU"},
    {"hatr hatran", "gniCSBBFE"},
    {"hebr hebrew", "xsB2BIaEFop9BZBEBABBBBBJ"},
    {"hira hiragana", "hiM1CGCh7-C+ISAdCtlQA"},
    {"idsb idsbinaryoperator", "w-LBCJxPA"},
    {"idst idstrinaryoperator", "y-LB"},
    {"idsu idsunaryoperator", "+-LB"},
    {"armi imperialaramaic", "giiCVBI"},
    {"inherited qaai zinh",
     "gYvD1IBkOKaAgXD7qEehQCBMBGEAGADBmG-BsQBiGgB55DDrDBlrzBPQNveAiHA6iEAk+uBtBCWgRCRHCGeDy6rYvH"},
    {"inscriptionalpahlavi phli", "g7iCSFH"},
    {"inscriptionalparthian prti", "g6iCVCH"},
    {"java javanese", "gsqBtCCJEB"},
    {"kaithi kthi", "gkkCiCKA"},
    {"kannada knda", "gkDMBCBWBJBECIBCBDHBGBBDCJBC"},
    {"kana katakana", "hlM5CCCwHPwGuBB3CugzBJBsByisBDBGBBBA-ICyBAOD"},
    {"kawi", "g4nCQBoBDc"},
    {"kali kayahli", "goqBtBBA"},
    {"khar kharoshthi", "gwiCDBBFHBCBcCCEJHI"},
    {"khitansmallscript kits", "k-7CA74G1OpBA"},
    {"khmer khmr", "g8F9CCJGJmPf"},
    {"khoj khojki", "gwkCRBuB"},
    {"khudawadi sind", "w1kC6BFJ"},
    {"kiratrai krai", "gq7C5B"},
    {"lao laoo", "h0DBBABEBXBABWCEBABGBJCD"},
    {"latin latn",
     "hCZGZvBAPAFWBeBgOnBE7wGlBGwBFDFMBlChC-HxLANAQMtEBGAbARoB32Cfi1elDDiCCBBABHVNwZqBBIBD28TG6gBZG"
     "ZlhCFBpBBIl61BeGF"},
    {"lepc lepcha", "ggH3BDODC"},
    {"limb limbu", "goGeBLELEADL"},
    {"lina lineara", "gwhC2JJVKH"},
    {"linb linearb", "gggCLBZBSBBBOCNiB6D"},
    {"lisu", "wmpBvBw1eA"},
    {"lyci lycian", "g0gCc"},
    {"lydi lydian", "gpiCZFA"},
    {"mahajani mahj", "wqkCmB"},
    {"maka makasar", "g3nCY"},
    {"malayalam mlym", "goDMBCByBBCBFEPCZ"},
    {"mand mandaic", "giCbCA"},
    {"mani manichaean", "g2iCmBEL"},
    {"marc marchen", "wjnCfCVBN"},
    {"gonm masaramgondi", "gonCGBBBrBDABBBIIJ"},
    {"medefaidrin medf", "gy7C6C"},
    {"meeteimayek mtei", "g3qBWpGtBCJ"},
    {"mend mendekikakui", "gg6DkGCP"},
    {"merc meroiticcursive", "gtiCXETCtB"},
    {"inmeroitichieroglyphs mero meroitichieroglyphs", "gsiCf"},
    {"miao plrd", "g47CqCE4BHQ"},
    {"modi", "gwlCkCLJ"},
    {"mong mongolian", "ggGBCABTG4CHqB1t-BM"},
    {"mro mroo", "gy6CeBJEB"},
    {"mult multani", "g0kCGBABDBOBK"},
    {"myanmar mymr", "ggE-EgqmBehDfwibT"},
    {"nabataean nbat", "gkiCeII"},
    {"nagm nagmundari", "wm5DpB"},
    {"nand nandinagari", "gtmCHCtBCK"},
    {"newa", "gglC7CBE"},
    {"newtailue talu", "gsGrBEZGKDB"},
    {"nko nkoo", "g+B6BCC"},
    {"nshu nushu", "h-7CAusQrM"},
    {"hmnp nyiakengpuachuehmong", "go4DsBDNCJEB"},
    {"ogam ogham", "g0Fc"},
    {"inolchiki olchiki olck", "wiHvB"},
    {"hung oldhungarian", "gkjCyBNyBHF"},
    {"ital olditalic", "g4gCjBJC"},
    {"inoldnortharabian narb oldnortharabian", "g0iCf"},
    {"oldpermic perm", "w6gCqB"},
    {"oldpersian xpeo", "g9gCjBEN"},
    {"oldsogdian sogo", "g4jCnB"},
    {"inoldsoutharabian oldsoutharabian sarb", "gziCf"},
    {"oldturkic orkh", "ggjCoC"},
    {"olduyghur ougr", "w7jCZ"},
    {"olonal onao", "wu5DqBEA"},
    {"oriya orya", "h4CCBHCBCVBGBBBECICBCCHCEBBECR"},
    {"osage osge", "wlhCjBEjB"},
    {"osma osmanya", "gkhCdCJ"},
    {"oidc otheridcontinue", "3FAvWAh-DIozBAxxBBtnEApzzBA"},
    {"oids otheridstart", "lkGBxkCAVAs7DB"},
    {"hmng pahawhhmong", "g46ClCKJBGBUFS"},
    {"inpalmyrene palm palmyrene", "gjiCf"},
    {"pauc paucinhau", "g2mC4B"},
    {"phag phagspa", "giqB3B"},
    {"phnx phoenician", "goiCbDA"},
    {"phlp psalterpahlavi", "g8iCRHDMG"},
    {"rejang rjng", "wpqBjBLA"},
    {"runic runr", "g1FqCDK"},
    {"samaritan samr", "ggCtBCO"},
    {"saur saurashtra", "gkqBlCIL"},
    {"insharada sharada shrd", "gskC-C"},
    {"inshavian shavian shaw", "wihCvB"},
    {"sidd siddham", "gslC1BClB"},
    {"sgnw signwriting", "gg2DrUPEBO"},
    {"sinh sinhala", "hsDCBRDXBIBACGDAEFBABHGJCCs-gCT"},
    {"sogd sogdian", "w5jCpB"},
    {"sora sorasompeng", "wmkCYHJ"},
    {"soyo soyombo", "wymCyC"},
    {"sund sundanese", "g8G-BgIH"},
    {"sunu sunuwar", "g+mChBOJ"},
    {"sylo sylotinagri", "ggqBsB"},
    {"syrc syriac", "g4BNB7BCCwIK"},
    {"tagalog tglg", "g4FVJA"},
    {"tagb tagbanwa", "g7FMBCBB"},
    {"taile tale", "wqGdCE"},
    {"lana taitham", "gxG+BBcCKGJGN"},
    {"taiviet tavt", "g0qBiCYE"},
    {"takr takri", "g0lC5BGJ"},
    {"tamil taml", "i8CBBFDCBDDBBABBDBDCDLEEDCBDCAGAOUl+kCxBNA"},
    {"tangsa tnsa", "wz6CuCBJ"},
    {"tang tangut", "g-7CAf3-FI-XgQI"},
    {"telu telugu", "ggDMBCBWBPCIBCBDHBBCCACDCJHI"},
    {"term terminalpunctuation",
     "hBAKABALBDA+ZAIAhQA5BAoCAOABC0FArBKBArHB2BFBHfAlIB0nBBsFAEF3JB1YHlYA8DCnCB9ECDAnBDCB6JBiLDiFB"
     "KBBCdC7FE+BBkdAXBJCvlDCyJANAEAKABBDBsNB7ndBtICjHE+LB2CB-CA3ECzEC-DAQB5HAmxUACB5BCBDpFAKABALBD"
     "AhCACA6hBAwBAmkBAnGA2JB4EFkCF5CD4dEsBD9FGwDD-DChEBGAQB4CEsDAqJB1DCMBmLDDOpDB5HClQABA7HB3CBEB+"
     "MCtBAlUBqCBrpBE5vRBlEAhCCKApRBnJBmwTAnvHD"},
    {"thaa thaana", "g8BxB"},
    {"thai", "hwD5BFb"},
    {"tibetan tibt", "g4DnCBjBEmBBjBBOBGEB"},
    {"tfng tifinagh", "wpL3BHBOA"},
    {"tirh tirhuta", "gklCnCIJ"},
    {"todhri todr", "guhCzB"},
    {"toto", "w04De"},
    {"tulutigalari tutg", "g8kCJBACABlBBJBACABDBJBBIB"},
    {"ugar ugaritic", "g8gCdBA"},
    {"unknown zzzz",
     "4bBGDHABAUAtMAmBByBBDA3BHbDGKuIA8BBlDN7BBxBBPAcBBALEfACEtHAIBCBWAHABCEBJBCBEHBDCAFBZBDAGDCBWA"
     "HACACACBBAFDCBDCBGEABGRJDAJADAWAHACAFBKADADBBOEBMGHADAIBCBWAHACAFBJBCBDGDDCAFBSJCAGCDAECCABAC"
     "CCCDCMDFCDAEBBFBNVENADAXAQBJADAEGCADBBBEBKGWADAXAKAFBJADAEGCFCAEBKADLNADAzBADAGDQBaADASCYAJAB"
     "BHCBDGABAIFKBDL6BDdkBCABAFAYABAXBFABAHAKBEfoCAkBDnBAkBAPANkBmGABEBB5LAEBHABAEBpBAEBhBAEBHABAE"
     "BPA5BAEBjCBgBCaF2CBGB9UC5CGWIYIULNADACL+CBKFKFaF5CGrBEmCJfAMDMDBCqBBFKsBDaFLC+BBhCAdBLFKFOBfw"
     "BtCAmFH8BCPC+BErBBLHrBE2QBGBmBBGBIABABABAfB1BAPAOBGATBDAJAlDAMBbANChBOhBOsED6UVLU04BBgBA9KEtB"
     "ABEBB4BGCNYIHAHAHAHAHAHAHAHA+DhBaA5CL2GZwCA2CBnDErBA+CA2CIwBAtzcC3BI8KT4FHuGBCABAIU7BCKF4BHmC"
     "HMF0DKeCuCALDhBA3BIOBKBnDXcJGBGBGIHAHA8BD+DBKFk9KLXDxBjoIuLBqDlBHLFEaAFABACACA9DP9NB2BGBfqBFz"
     "BATAEDFAnEBBA+FCGBGBGBDCHAHJFBMAaATACAPBOhB7DEDDtBC4CANCBuBuBhEdCxBOcDkBIeErBEeAlBDOpB+EBKFkB"
     "DkBDoBH0BKMAPAHACALAPAHACC0BL3JIWJIXGAqBAJkCGBBAsBACCBBXAoCHJvBTACEhBCbEB-B4BDUByBACEIADAdBDD"
     "KGJGgCfnBDMI2BCdBbEaGELHvCpC2BzBMzBGuBHKFmBCdHCvGfAqBADBCPD2BsBHqBValBcTXIuCDkBIkCJBBZGKF1BAS"
     "HnBIgDAUKSAvB9BHABAEAPALF7BEKFEAIBCBWAHACAFAKBCBDBBFBEHBHCFKKABBBAmBAKABBBAEAKACHCc8CAFdoCHKl"
     "F2BBmBhBlCKKFNS6BFKFUbbBPDX4F8BjDzCLIBBBIACAeACBMIKlCIBuBBLaoCHzCMpCGK1FiBNKFJAtBAOJdCgBBWAOo"
     "CHACAsBCBACAJHKFGACAlBACAGGK1JZGRApBCd0CBOyBM7clDvDAFKkGryCjDM2iBJ78DEnS41G6Bl2B5RGfAKDxCAKFe"
     "BGJmCJKAHAVETvN6BlG7CkDrCD5BGR-BFKCN4-FH2mBoBKm3IEAHACAjJOBcDBBNEHsMjoCrDENCJGKBI76D6HF0NrCuB"
     "BXI0D7B2HJnBBiGUmC5DULUL3CIZmE1CAnCACBBBCBEAMABAHAhCAEBIAHAcAEAFABCHA0KBkJB+VOFAPviBfFG0GHARB"
     "HACAFE+BgBBvDtBCOBKDC-JfQ6BEBvOqB1GrBDB-OHAEACAPAlGBQoBsCDKDCwYkCrC9BhGEAbACABBBAKAEABABFBDBA"
     "BABADACABBBABABABABACABBEAHAEAEABAKAREDAFARzBCtIsBDkDLPBPAPAlBJuF3BdMsBDJGCNG5E4eDRCNC3DD-CFM"
     "DBOMD4BHKFoBHeBMDC9B0KLOBNCKE4BGPBLFJGzEAmDlgBg3pBf6hEF+GBi0FNxpHOuThtC+QhvBr6EEgjEwi3VBdgD-D"
     "wHvw-F"},
    {"vai vaii", "gopBrJ"},
    {"vith vithkuqi", "wrhCKBOBGBBBKBOBGBB"},
    {"wancho wcho", "g24D5BFA"},
    {"wara warangciti", "glmCyCMA"},
    {"xidc xidcontinue",
     "wBJHZEABZvBAKABACAFWBeBpOELOEHABAR0DBBDCBAGEBABTByCBqEBEClFBlBCAGoBIsBBABBBBBAIaEDdKFpCElDBHC"
     "JBSCAQ6BCkDO1BEACACtBSbEKFXBFIqCBgECJBSBHCBCVBGBADDCICBCDIAEBBECLKABACCBFEBCVBGBBBBBBCABEEBCC"
     "DAHDBAHPLCBIBCBVBGBBBECJBCBCCAPDCJJGBCBHCBCVBGBBBECICBCCHCEBBECJBAQBBFDCBDDBBABBDBDCDLEEDCBDC"
     "AGAOJQMBCBWBPCIBCBDHBBCCACDCJQDBHBCBWBJBECIBCBDHBGBBDCJBCMMBCByBBCBEFDHECJKFBCBRDXBIBACGDAEFB"
     "ABHGJCBN5BFOBJnBBBABEBXBABWCEBABGBJCDgBAXBGJLABABAEJBjBETBRBjBJA5BpCGtCClBBAFACqBBsKBDCGBABDC"
     "oBBDCgBBDCGBABDCOB4BBDCiCCCJIOPQ1CCFDrTCQBZFqCDKHVJVLTMMBCBBMzCDAEBCJhBCBKG4CHqBFlCKeBLELKnBC"
     "ELrBEZGKlBbE+BBcCKGJNAINBPxBsCDJRIMzDM3BIJDwBCKFqBCCQCBmBF1QCFClBCFCHBABABABeC0BBGBADCBGDDCFE"
     "MFCBGPBxBBTAcANAQMzBMEADLRAEACJBACFGABABABPCDFEEARoB3zCkHGIMlBBAFAC3BHAPXJGBGBGBGBGBGBGBGBflQ"
     "CZOBECEE1CCBCCB+CFqBB9CRfwBPgQ-tGgCs0VjCtBCsIDbUvBEJByDlBICmDCiCCBBABHV1BEATzBMlCKJGXDABwBCjB"
     "McDgCOKGeB2BJNCJGWDoCYCCPCEKFCFCFJGBGBqBBNG6DBBCJGj9KMWEwBkoItLCpDmBGMEFLBMBEBABBBBBrDhBqEG5G"
     "S-BC1BoBJGPQPDBYChBABADABABABAB9DTJHZEABZK5CDFCFCFCCjBLBZBSBBBOCNiB6DlC0BoEAiEcDwBPAffNdFqBFd"
     "CjBEHBEqB9ECJGjBEjBEnBIzBMKBOBGBBBKBOBGBBDzBM2JJVKHYFBpBBIlCFCABrBBBDACWKWJehCSBBKVKZmC3BGBgC"
     "DBBFHBCBcCCEAgBcDcjBHBdZ1BKVKSNRuDoC3ByBNyBNnBIJGlBDEBW6HpBBBDBQC3BgBKAIgBfVqBUbWJmCfPJ7BHANY"
     "HJG0BBJEDIjBCAJkCEDBMBAjBRBkBGD+BGBABDBOBJH6BFJGDBHCBCVBGBBBEBJCBCCCAGAFGCGDELJBACABlBBJBACAB"
     "DBHNBdqCFJEDelCBAIJmF1BCIXFiBgCDALJmB4BHJGTcaCOEJGG5F6BlDpCVHCACHBBBdBBCIMJmCHCtBCHBBb+BIAIpC"
     "DASoCnGgBPJGIBsBBIPJYdCVBNpCGBBBrBDABBBIIJGFBBBkBBBBFHJ2JWJQBoBDENK1CAvC5cmDuDRjGsyCgDPvhBQVK"
     "68DFmS51G5Bm2B4RHeBJGuCBJGdCEL2BJDMJJUFSwNsBDJmG-BgEqCE4BHQgCBBBLBO3-FI1mBpBJn3IDBGBBBiJPAdCC"
     "AODIrMkoCqDFMDIHJDBxiEJmQtBCW+QEDFIHCGeD0EC7N0CBmCBBCACBCDBLBABGBgCBDCHBGBbBDBEBADGBzKCYBYBeB"
     "YBeBYBeBYBeBYBHCxBgQ2BExBIAOAWEBOwiBeGF1GGBQCGBBBEF9BhBAwDsBDNCJEAhKeR5B2OpB2GqBlPGBDBBBOBkGL"
     "GpBrCEJmlBDBaBBBACABJBDBABAGAEABABABCBBBACABABABABABBBACDBGBDBDBABJBQFCBEBQ0pDJmgB-2pBgB5hEG9"
     "GCh0FOwpHPtTitC9QivBq6EF-iEwq3VvH"},
    {"xids xidstart",
     "hCZGZvBAKAEAFWBeBpOELOEHABAhEEBBDCBAGABCBABTByCBqEIlFBlBCAGoBnCaEDtBqBjBBBiDBAPBHBKCCAQABdd4C"
     "LAYgBJBEAFVEAJADAXYHKFXBFRpB6B1BDASAHJPPEHCBCVBGBADDDAQANBBCOBKAIFEBCVBGBBBBBBfDBATCQIBCBVBGB"
     "BBEDASAPBXALHCBCVBGBBBEDAeBBCPARABFDCBDDBBABBDBDCDLWA0BHBCBWBPDAaCCACBeAEHBCBWBJBEDAfBBBPBRIB"
     "CBoBCAQAFCICYFFRDXBIBACG6BvBBANG6BBBABEBXBABJBAKACEBAVDgBA-BHBjBbEzDqBUAQFEDDADBHCEMMARlBBAFA"
     "CqBBsKBDCGBABDCoBBDCgBBDCGBABDCOB4BBDCiClBPQ1CCFDrTCQBZFqCDKHRNSOROMBCPzBjBAEAjC4CHoBBAFlCKex"
     "BdCELrBEZ2BWJ0ByCA9CuBRH2BdNBKrBajBpBCKjBCKFqBCCpBDBFBBDAF-FgC1ICFClBCFCHBABABABeC0BBGBADCBGD"
     "DCFEMFCBG0DANAQMlDAEACJBACFGABABABPCDFEEARoB3zCkHGDDBMlBBAFAC3BHAQWJGBGBGBGBGBGBGBGmRCZIHECEE"
     "1CGCB5CBDFqBB9CRfwBPgQ-tGgCs0VjCtBCsIDPKBUuBQeCvCnBICmDCiCCBBABHVPBCBDBWdzBOxB+BFDABBLbKWZcHu"
     "BcAQEBJKEBoBXCBHUWDADxBBADBCECABAYCCKHCMFCFCFJGBGBqBBNGyDdj9KMWEwBkoItLCpDmBGMEFABJBMBEBABBBB"
     "BrDhBqEG5GS-BC1BoBJ3DABADABABABAB9DkBZGZL3BCeDFCFCFCCjBLBZBSBBBOCNiB6DlC0BrIcDwBvBfNdFlBKdCjB"
     "EHBEqB9ESjBEjBEnBIzBMKBOBGBBBKBOBGBBDzBM2JJVKHYFBpBBIlCFCABrBBBDACWKWJehCSBBKVKZmC3BGBgCAPDBC"
     "BcqBcDcjBHBbb1BKVKSNRuDoC3ByBNyBNjBmBbJW6HpBGBQC7BcKAIVqBRuBUbWM0B5BBCANsBgBYajBdACAIiBDAMvBO"
     "DVABAjBRBYTB-BGBABDBOBJHuBmBHCBCVBGBBBEDASAMEeJBACABlBBAZABAsB0BSDUCevBUBBA4FuBpBDkBvBUA7BqBN"
     "AnCalBG5FrB0D-BfHCACHBBBXPABA+CHCmBQABAcAKnBHAVALtBTASoCnGgBfIBkBRAxBdwDGBBBlBVAZFBBBfOAnKSPA"
     "BMBhB8DAvC5cmDuDRjGsyCgDPvhBRFZ68DFmS51Gdi3B4RHeRuCRdSvBQDfUFSwNsBzG-BgEqCFAiCMgCBBAc3-FI1mBp"
     "BJn3IDBGBBBiJPAdCCAODIrMkoCqDFMDIHJm7F0CBmCBBCACBCDBLBABGBgCBDCHBGBbBDBEBADGBzKCYBYBeBYBeBYBe"
     "BYBeBYBH05BeGFlI9ByEsBKGQAhKdSrBkPbkHdCAvPGBDBBBOBkG7BjCHA0lBDBaBBBACABJBDBABAGAEABABABCBBBAC"
     "ABABABABABBBACDBGBDBDBABJBQFCBEBQkqE-2pBgB5hEG9GCh0FOwpHPtTitC9QivBq6EF-iE"},
    {"yezi yezidi", "g0jCpBBCCB"},
    {"yi yiii", "ggoBskBD2B"},
    {"zanabazarsquare zanb", "gwmCnC"},
};
const std::span<const PackedSet> kScripts = kScriptsList;
// clang-format on

}  // namespace hypenet::unicode_table
