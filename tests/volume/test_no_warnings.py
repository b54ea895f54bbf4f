import SimpleITK as sitk

from itk_infer.volume.no_warnings import no_simpleitk_warnings


def test_the_setting_comes_back_when_the_last_of_two_blocks_ends():
    first, second = no_simpleitk_warnings(), no_simpleitk_warnings()
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    try:
        sitk.ProcessObject.SetGlobalWarningDisplay(True)
        first.__enter__()
        second.__enter__()  # as another thread would, while the first is still reading
        first.__exit__(None, None, None)
        assert not sitk.ProcessObject.GetGlobalWarningDisplay()
        second.__exit__(None, None, None)
        assert sitk.ProcessObject.GetGlobalWarningDisplay()
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)
