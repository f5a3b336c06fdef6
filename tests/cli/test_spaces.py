import json


def test_spaces_command_lists_spaces_and_networks(tinynas):
    code, out, _ = tinynas("spaces")
    assert code == 0
    for name in ("micro", "mobile32", "mcu", "mobile", "detect", "mcunet-in3"):
        assert name in out
    document = json.loads(tinynas("spaces", "--json")[1])
    assert document["networks"]["mcunet-in3"]["min"] == document["networks"]["mcunet-in3"]["max"]
