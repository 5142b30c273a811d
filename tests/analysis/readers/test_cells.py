"""Cells of CSV and Parquet files: their meaning, and the errors for cells that have none."""

import gzip
import math

import numpy as np
import pandas as pd
import pytest

from analysis import load
from analysis.expressions import parse_map


@pytest.fixture
def read(tmp_path):
    """Load a table from text or bytes."""

    def read(content, columns="", name="nets.csv"):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return load(tmp_path / name, columns=parse_map(columns)).frame

    return read


@pytest.mark.parametrize(
    ("cell", "value"),
    [(" 6.5 ", 6.5), ("+7", 7), ("7.", 7), ("1e1", 10), ("6.5\u00a0", 6.5)],
)
def test_numbers_are_read_in_common_notations(read, cell, value):
    assert read(f'error\n"{cell}"\n20\n', "error")["error_percent"].tolist() == [value, 20]


@pytest.mark.parametrize("cell", ["", "nan", "NaN", "-nan", "None", "null", "NULL", "NA", "<NA>"])
def test_a_missing_error_is_a_failure(read, cell):
    frame = read(f'space,error\na,"{cell}"\na,20\n', "space,error")
    assert frame["status"].tolist() == ["crashed", "ok"]
    assert math.isnan(frame["error_percent"][0])


@pytest.mark.parametrize("cell", ["inf", "-inf", "Infinity", "1e400", "-1e400"])
def test_an_infinite_error_is_a_diverged_model(read, cell):
    frame = read(f"error\n{cell}\n20\n", "error")
    assert frame["status"].tolist() == ["diverged", "ok"]
    assert frame["error_percent"].isna().tolist() == [True, False]


def test_infinite_errors_in_parquet_or_from_a_division_are_diverged_models(tmp_path):
    pd.DataFrame({"wrong": [1.0, 3.0, 5.0], "images": [0.0, 20.0, 50.0], "error": [np.inf, 15, np.nan]}).to_parquet(
        tmp_path / "nets.parquet"
    )
    stored = load(tmp_path / "nets.parquet", columns=parse_map("error"))
    assert stored["status"].tolist() == ["diverged", "ok", "crashed"]
    computed = load(tmp_path / "nets.parquet", columns=parse_map("error=100*wrong/images"))
    assert computed["status"].tolist() == ["diverged", "ok", "ok"]
    assert computed["error_percent"].tolist()[1:] == [15, 10]


@pytest.mark.parametrize(
    "cell", ["6,5", "6.5±0.2", "1.234,5", "1,234", "n/a", "N/A", "-", "6_5", "0x10", "TRUE", "#DIV/0!", "6.5%", "６"]
)
def test_other_cells_are_rejected_with_line_column_and_text(read, cell):
    with pytest.raises(ValueError, match=r"nets\.csv, line 3: error = ") as caught:
        read(f'error\n20\n"{cell}"\n', "error")
    assert repr(cell) in str(caught.value)


def test_percent_signs_are_accepted_if_every_error_has_one(read):
    assert read("error\n6.5%\n7 %\n\n8%\n", "error")["error_percent"].tolist() == [6.5, 7, 8]
    assert read("acc\n93.5%\n90%\n", "error=100-acc")["error_percent"].tolist() == [6.5, 10]
    with pytest.raises(ValueError, match="line 2: macs = '50%'"):
        read("error,macs\n6.5,50%\n", "error,macs")


@pytest.mark.parametrize(("error", "shown"), [("-1", "-1"), ("250", "250"), ("100.5", "100.5")])
def test_an_error_outside_0_to_100_is_rejected_with_its_line(read, error, shown):
    with pytest.raises(ValueError, match=rf"line 3: error = {shown}: must be from 0 to 100 percent"):
        read(f"error\n20\n{error}\n", "error")
    with pytest.raises(ValueError, match=r"line 2: error = 107: .* \(1 more line too\)"):
        read("acc\n-7\n-8\n20\n", "error=100-acc")


@pytest.mark.parametrize(
    ("table", "columns", "advice", "corrected", "confirmed"),
    [
        ("err\n0.065\n0.12\n", "error=err", "no value is above 1; map", "error=100*err", "error_percent=err"),
        (
            "val/acc\n93\n90\n",
            "error=val/acc",
            "looks like an accuracy; map",
            "error=100-`val/acc`",
            "error_percent=val/acc",
        ),
        ("Top1\n.93\n.9\n", "error=Top1", "looks like an accuracy; map", "error=100-100*Top1", "error_percent=Top1"),
        ("acc\n.93\n.9\n", "error=1-acc", "no value is above 1; map", "error=100*(1-acc)", "error_percent=1-acc"),
        ("acc\n.93\n.9\n", "error=100-acc", "no value is below 99", "error=100-100*acc", "error_percent=100-acc"),
        (
            "top1\n.5\n.8\n",
            "error_3=top1",
            "looks like an accuracy; map",
            "error_3=100-100*top1",
            "error_percent_3=top1",
        ),
    ],
)
def test_a_doubtful_unit_is_rejected_and_can_be_confirmed(read, table, columns, advice, corrected, confirmed):
    with pytest.raises(ValueError, match=advice) as caught:
        read(table, columns)
    assert corrected.replace("100*acc", "100*ACCURACY") in str(caught.value) or corrected in str(caught.value)
    assert confirmed in str(caught.value)
    assert read(table, corrected)["error_percent"].between(1, 99).all()
    raw = read(table, confirmed)
    assert (raw["status"] == "ok").all()


def test_a_column_named_error_is_in_percent(read):
    assert read("top-1 err\n93\n90\n", "error=top-1 err")["error_percent"].tolist() == [93, 90]
    assert read("error_percent\n0.5\n0.25\n")["error_percent"].tolist() == [0.5, 0.25]


@pytest.mark.parametrize("column", ["macs", "params", "acts", "depth"])
@pytest.mark.parametrize("cell", ["0", "-3", "inf", "4.1G", "1 234", "12 layers", "1,234", "x"])
def test_an_impossible_complexity_is_rejected_with_its_line(read, column, cell):
    with pytest.raises(ValueError, match=rf"nets\.csv, line 3: {column} = "):
        read(f'error,{column}\n20,100\n30,"{cell}"\n', f"error,{column}")


def test_an_unknown_complexity_stays_unknown(read):
    macs = read("error,macs\n20,100\n30,\n40,nan\n", "error,macs")["macs"]
    assert macs[0] == 100
    assert macs.isna().tolist() == [False, True, True]


def test_thousands_separators_are_read_if_they_cannot_be_decimal_commas(read):
    table = 'error,macs,width\n20,"1,234,567","1,000.5"\n30,"987,654","2,000.5"\n40,12,3\n'
    frame = read(table, "error,macs,width")
    assert frame["macs"].tolist() == [1234567, 987654, 12]
    assert frame["width"].tolist() == [1000.5, 2000.5, 3]


@pytest.mark.parametrize("cell", ["", "1.5", "x"])
@pytest.mark.parametrize("column", ["seed", "index"])
def test_seeds_and_indices_must_be_integers(read, column, cell):
    with pytest.raises(ValueError, match=rf"line 3: {column} = "):
        read(f"name,{column},error_percent\na,1,20\na,{cell},30\n", "name")


def test_a_numeric_parameter_rejects_text_and_a_text_parameter_does_not(read):
    with pytest.raises(ValueError, match=r"line 4: lr = '0,3': must be a number, like most of the column"):
        read('error,lr\n20,0.1\n30,0.2\n40,"0,3"\n', "error,lr")
    frame = read("error,kind,wide,se\n20,18,true,0.25\n30,34d,FALSE,none\n40,50d,true,\n", "error,kind,wide,se")
    assert frame["kind"].tolist() == ["18", "34d", "50d"]
    assert frame["wide"].tolist() == [True, False, True]
    np.testing.assert_array_equal(frame["se"], [0.25, np.nan, np.nan])


def test_numeric_identifiers_stay_text(read):
    frame = read("error_percent,arch,hash\n20,007,12345678901234567890\n30,010,12345678901234567891\n")
    assert frame["arch"].tolist() == ["007", "010"]
    assert frame["hash"].nunique() == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("NETS.CSV", "name,error\nä,20\nb,30\n".encode()),
        ("bom.csv", "\ufeffname,error\nä,20\nb,30\n".encode()),
        ("wide.csv", "name,error\nä,20\nb,30\n".encode("utf-16")),
        ("wider.csv", "name,error\nä,20\nb,30\n".encode("utf-32")),
        ("semicolon.csv", "name;error\nä;20\nb;30\n".encode()),
        ("tab.TSV", "name\terror\nä\t20\nb\t30\n".encode()),
        ("packed.CSV.GZ", gzip.compress("name,error\nä,20\nb,30\n".encode(), mtime=0)),
        ("mac.csv", "name,error\rä,20\rb,30\r".encode()),
        ("windows.csv", "name,error\r\nä,20\r\n\r\nb,30\r\n,\r\n".encode()),
    ],
)
def test_encodings_delimiters_and_suffixes(read, name, content):
    frame = read(content, "name,error", name)
    assert frame["spec_id"].tolist() == ["ä", "b"]
    assert frame["error_percent"].tolist() == [20, 30]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name,error\nb,20\nä,30\n".encode("latin-1"), r"line 3: 'name' = b'\\xe4': must be UTF-8"),
        ("näme,error\nb,20\n".encode("latin-1"), r"header: .*must be UTF-8"),
        ("name,error\nä,20\n".encode("utf-16-le"), r"line 1: NUL character; save the table as UTF-8"),
        (gzip.compress(b"name,error\na,20\n", mtime=0)[:-8], r"unreadable"),
        (b"name,error,error\na,20,30\n", r"line 1: column names = 'error' \(columns 2, 3\): must be unique"),
        (b'name,error\n"a\nb",20\nc,6,5\n', r"line 4: number of cells = 3: must be 2, as in the header"),
        (b"name,error\na,20\nb\n", r"line 3: number of cells = 1"),
        (b'name,error\n"a,20\nb,30\n', r"line 2: unexpected end of data; check the double quotes"),
        (b"name,error\n", r"no rows"),
        (b"", r"no rows"),
    ],
)
def test_unreadable_files_are_rejected_with_the_line(read, content, message):
    with pytest.raises(ValueError, match=message):
        read(content, "name,error")


def test_line_numbers_count_blank_and_quoted_lines(read):
    with pytest.raises(ValueError, match=r"line 8: error = 'x'"):
        read('\nname,error\n"two\nlines",20\n\n,\nb,30\nc,x\n', "name,error")


def test_parquet_errors_state_the_row_and_a_named_index_is_a_column(tmp_path):
    frame = pd.DataFrame({"arch": ["a", "b"], "error": ["20", "6,5"]}).set_index("arch")
    frame.to_parquet(tmp_path / "nets.PARQUET")
    with pytest.raises(ValueError, match=r"nets\.PARQUET, row 2: error = '6,5'"):
        load(tmp_path / "nets.PARQUET", columns=parse_map("name=arch,error"))
    frame.assign(error=[20, 30]).to_parquet(tmp_path / "nets.PARQUET")
    assert load(tmp_path / "nets.PARQUET", columns=parse_map("name=arch,error"))["spec_id"].tolist() == ["a", "b"]
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"broken\.parquet: not a readable Parquet file"):
        load(tmp_path / "broken.parquet", columns=parse_map("error"))


def test_blank_spaces_are_excluded_and_counted(tmp_path):
    (tmp_path / "nets.csv").write_text("space,error\na,20\n,25\n a ,30\nb,40\n")
    table = load(tmp_path / "nets.csv", columns=parse_map("space,error"))
    assert table.frame["space"].tolist() == ["a", "a", "b"]
    assert table.notes == ("nets.csv: 1 of 4 rows has no space and is excluded.",)
    (tmp_path / "nets.csv").write_text("space,error\n,20\n,25\n")
    with pytest.raises(ValueError, match="space = space: must have a value in some row"):
        load(tmp_path / "nets.csv", columns=parse_map("space,error"))


def test_a_row_without_a_name_is_a_separate_model(read):
    frame = read("name,seed,error\na,1,20\na,2,21\n,1,30\n,2,31\n", "name,error")
    assert frame.groupby("spec_id", sort=False)["error_percent"].apply(list).tolist() == [[20, 21], [30], [31]]


def test_repeated_rows_are_excluded_and_repeated_names_are_reported(tmp_path):
    rows = "a,20,5\nb,30,6\n"
    path = tmp_path / "nets.csv"
    path.write_text("name,error,depth\n" + 3 * rows)
    table = load(path, columns=parse_map("name,error"))
    assert table.frame["spec_id"].tolist() == ["a", "b"]
    assert table.notes == ("nets.csv: 4 of 6 rows repeat another in all columns and are excluded.",)
    path.write_text("name,error,depth\n" + rows + "a,21,5\n")
    table = load(path, columns=parse_map("name,error"))
    assert table.frame["spec_id"].tolist() == ["a", "b", "a #2"]
    assert table.notes == (
        "nets.csv: 1 name repeats; without a seed column each row counts as a separate model; "
        "map seed if the rows are seeds.",
    )


def test_rows_with_equal_errors_and_nothing_else_all_count(tmp_path):
    """Errors counted on few images are often equal by chance; nothing shows that these are the same models."""
    (tmp_path / "nets.csv").write_text("space,error\na,20\na,20\nb,30\n")
    table = load(tmp_path / "nets.csv", columns=parse_map("space,error"))
    assert table.frame["error_percent"].tolist() == [20, 20, 30]
    assert (
        "1 of 3 rows repeats another in all columns; each counts, since no column distinguishes models"
        in table.notes[0]
    )


def test_a_wide_text_table_is_read_without_warnings(tmp_path):
    wide = pd.DataFrame({f"setting {i}": ["x", "y"] for i in range(200)} | {"error": [20, 30]})
    wide.to_csv(tmp_path / "nets.csv", index=False)
    assert load(tmp_path / "nets.csv", columns=parse_map("error"))["setting 199"].tolist() == ["x", "y"]


def test_empty_messages_are_empty_strings(read):
    assert read("error,message\n20,\n30,\n", "error")["message"].tolist() == ["", ""]


@pytest.mark.parametrize("cell", ["24,24,56", "[24, 24, 56]", "(24, 24, 56)", "24 24 56", "24;24;56"])
def test_widths_of_blocks(read, cell):
    frame = read(f'error,w\n20,"{cell}"\n30,"8,"\n40,\n', "error,widths=w")
    assert frame["block_widths"].tolist() == [(24, 24, 56), (8,), None]
    np.testing.assert_array_equal(frame["depth"], [3, 1, np.nan])


def test_widths_and_depths_of_stages(read):
    frame = read('error,w,d\n20,"24,56","1,2"\n30,8,3\n', "error,widths=w,depths=d")
    assert frame["block_widths"].tolist() == [(24, 56, 56), (8, 8, 8)]
    with pytest.raises(ValueError, match=r"line 2: depths = \[1\]: must have as many values as widths \(2\)"):
        read('error,w,d\n20,"24,56",1\n', "error,widths=w,depths=d")
    with pytest.raises(ValueError, match="columns = depths: must also have widths"):
        read('error,w,d\n20,"24,56",1\n', "error,depths=d")


@pytest.mark.parametrize("cell", ["24,x", "24,-8", "24.5", "0", "24,nan", "1e9", "[]"])
def test_impossible_widths_are_rejected_with_their_line(read, cell):
    with pytest.raises(ValueError, match=r"nets\.csv, line 3: w(idths)? = "):
        read(f'error,w\n20,"24,56"\n30,"{cell}"\n', "error,widths=w")


def test_an_error_in_the_map_names_the_file_it_does_not_fit(read, tmp_path):
    read("error,depth\n20,3\n", "error,depth", "one.csv")
    read("error,layers\n20,3\n", "error", "two.csv")
    with pytest.raises(ValueError, match=r"two\.csv: depth = depth: column = depth: unknown"):
        load(tmp_path / "one.csv", tmp_path / "two.csv", columns=parse_map("error,depth"))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            "error=a,error_percent=b",
            "columns = error, error_percent: must have only one of them, both set",
        ),
        ("error=a,error_1=b", "columns = error, error_1: must have only one of them"),
        ("error=a,rank=b", "columns = rank: must not be the name of a computed column"),
        ("error=a,seed=b,error_1=b", "columns = error, error_1: must have only one of them"),
        ("error_1=a,seed=b", "columns = seed, error_1: must have only one of them"),
        ("error=a,widths=a+b", "must be a column of lists"),
    ],
)
def test_contradictory_maps_are_rejected(read, columns, message):
    with pytest.raises(ValueError, match=message):
        read("a,b\n20,30\n", columns)


def test_errors_per_seed_replace_an_error_per_model_but_exclude_seeds(read):
    frame = read("name,error_percent,a,b\nx,10,9,11\ny,20,19,21\n", "name,error_1=a,error_2=b")
    assert frame["error_percent"].tolist() == [9, 19, 11, 21]
    with pytest.raises(ValueError, match="columns = seed, error_1: must have only one of them"):
        read("name,seed,a,b\nx,1,9,11\ny,1,19,21\n", "name,error_1=a,error_2=b")
