"""SNOMED CT codes of structures that models segment: a small table, against which a spec's codes are checked.

Taken from the context groups of PS3.16 (CID 7150, 7151, 2 and 244). SNOMED CT codes that are in the DICOM standard
are free to use within DICOM objects.
"""

from __future__ import annotations

from functools import cache

_CATEGORIES = (
    "91723000 Anatomical Structure; 49755003 Morphologically Abnormal Structure; 85756007 Tissue; 91720002 "
    "Body Substance; 260787004 Physical object; 246464006 Function; 309825002 Spatial and Relational Concept"
)
_SIDES = "7771000 Left; 24028007 Right; 51440002 Bilateral; 66459002 Unilateral"
_MODIFIERS = (
    "255549009 Anterior; 255551008 Posterior; 264217000 Superior; 261089000 Inferior; 255561001 Medial; "
    "49370004 Lateral; 40415009 Proximal; 46053002 Distal; 26216008 Central; 14414005 Peripheral; 260521003 "
    "Internal; 261074009 External; 26283006 Superficial; 795002 Deep; 43674008 Apical; 57195005 Basal; "
    "37197008 Anterolateral; 90069004 Posterolateral; 11896004 Intermediate"
)
_ANATOMY = (
    "10200004 Liver; 78961009 Spleen; 15776009 Pancreas; 28231008 Gallbladder; 64033007 Kidney; 23451007 "
    "Adrenal gland; 69695003 Stomach; 38848004 Duodenum; 21306003 Jejunum; 34516001 Ileum; 30315005 Small "
    "intestine; 14742008 Large intestine; 71854001 Colon; 60184004 Sigmoid colon; 34402009 Rectum; 53505006 "
    "Anus; 32849002 Esophagus; 89837001 Bladder; 87953007 Ureter; 13648007 Urethra; 25990002 Renal pelvis; "
    "41216001 Prostate; 64739004 Seminal Vesicle; 40689003 Testis; 18911002 Penis; 35039007 Uterus; 71252005 "
    "Cervix; 15497006 Ovary; 76784001 Vagina; 76752008 Breast; 79741001 Common bile duct; 28273000 Bile duct; "
    "69930009 Pancreatic duct; 71133005 Couinaud hepatic segment I; 277956007 Couinaud hepatic segment II; "
    "277957003 Couinaud hepatic segment III; 277958008 Couinaud hepatic segment IV; 277959000 Couinaud hepatic "
    "segment V; 277960005 Couinaud hepatic segment VI; 277961009 Couinaud hepatic segment VII; 277962002 "
    "Couinaud hepatic segment VIII; 80891009 Heart; 87878005 Left ventricle; 53085002 Right ventricle; "
    "82471001 Left atrium; 73829009 Right atrium; 33626005 Left auricular appendage; 589001 Interventricular "
    "septum; 76848001 Pericardium; 57034009 Aortic arch; 15825003 Aorta; 54247002 Ascending aorta; 281130003 "
    "Descending aorta; 113262008 Thoracic aorta; 7832008 Abdominal aorta; 41801008 Coronary artery; 50018008 "
    "Left Coronary Artery; 13647002 Right Coronary Artery; 3227004 Left Main Coronary Artery; 59438005 Left "
    "Anterior Descending Coronary Artery; 57396003 Circumflex Coronary Artery; 81040000 Pulmonary artery; "
    "45341000 Trunk of pulmonary artery; 122972007 Pulmonary vein; 64131007 Inferior vena cava; 48345005 "
    "Superior vena cava; 32764006 Portal vein; 35819009 Splenic vein; 42258001 Superior mesenteric artery; "
    "90771006 Superior Mesenteric Vein; 76015000 Hepatic artery; 8993003 Hepatic vein; 2841007 Renal artery; "
    "56400007 Renal vein; 10293006 Iliac artery; 244411005 Iliac vein; 73634005 Common iliac artery; 46027005 "
    "Common iliac vein; 69105007 Carotid Artery; 32062004 Common carotid artery; 86117002 Internal carotid "
    "artery; 12123001 Internal jugular vein; 36765005 Subclavian artery; 9454009 Subclavian vein; 12691009 "
    "Innominate artery; 8887007 Innominate vein; 85234005 Vertebral artery; 59011009 Basilar artery; 11279006 "
    "Circle of Willis; 7657000 Femoral artery; 83419000 Femoral vein; 51114001 Artery; 29092000 Vein; 59820001 "
    "Blood Vessel; 39607008 Lung; 31094006 Lobe of lung; 45653009 Upper lobe of lung; 90572001 Lower lobe of "
    "lung; 72481006 Middle lobe of right lung; 72674008 Segment of lung; 278983006 Fissure of lung; 44567001 "
    "Trachea; 955009 Bronchus; 70074004 Right main bronchus; 75245000 Left main bronchus; 3120008 Pleura; "
    "72410000 Mediastinum; 9875009 Thymus; 5798000 Diaphragm; 89187006 Airway structure; 12738006 Brain; "
    "372073000 Cerebral hemisphere; 40146001 Cerebral cortex; 68523003 Cerebral White Matter; 389081007 Gray "
    "Matter; 389080008 White Matter; 83251001 Frontal lobe; 16630005 Parietal lobe; 78277001 Temporal lobe; "
    "31065004 Occipital lobe; 36169008 Insula; 5366008 Hippocampus; 3937002 Entorhinal Cortex; 4958002 "
    "Amygdala; 11000004 Caudate Nucleus; 89278009 Putamen; 14738005 Globus Pallidus; 427667007 Nucleus "
    "Accumbens; 31428008 Corpus striatum; 42695009 Thalamus; 70007007 Substantia nigra; 88442005 Corpus "
    "callosum; 61962009 Midbrain; 119238007 Brain Stem; 113305005 Cerebellum; 33060004 Cerebellar White "
    "Matter; 66720007 Lateral Ventricle; 49841001 Third ventricle; 35918002 Fourth Ventricle; 35764002 Brain "
    "ventricle; 80447000 Cerebral aqueduct; 65216001 Cerebrospinal Fluid; 35951006 Subarachnoid space; 1231004 "
    "Meninges; 18545000 Dura mater; 56329008 Pituitary; 45793000 Pineal Gland; 244453006 Optic chiasm; "
    "53238003 Optic tract; 2748008 Spinal cord; 12958003 Spinal cord gray matter; 27088001 Spinal cord white "
    "matter; 91728009 Nerve; 79652003 Eyeball; 81745001 Eye; 123851003 Mouth; 21974007 Tongue; 38199008 Tooth; "
    "49460000 Soft palate; 360955006 Nasopharynx; 54066008 Pharynx; 81502006 Hypopharynx; 4596009 Larynx; "
    "69748006 Thyroid; 111002 Parathyroid; 45289007 Parotid gland; 54019009 Submandibular gland; 385294005 "
    "Salivary gland; 2095001 Paranasal sinus; 22945000 Inner ear; 25342003 Middle ear; 48477009 Lip; 89546000 "
    "Skull; 91609006 Mandible; 70925003 Maxilla; 74872008 Frontal bone; 24924006 Parietal bone; 31640002 "
    "Occipital bone; 60911003 Temporal Bone; 73117003 Sphenoid bone; 52374004 Ethmoid bone; 21387005 Hyoid "
    "bone; 421060004 Spine; 122494005 Cervical spine; 122495006 Thoracic spine; 122496007 Lumbar spine; "
    "51282000 Vertebra; 14806007 C1 vertebra; 39976000 C2 vertebra; 113205007 C3 vertebra; 5329002 C4 "
    "vertebra; 36978003 C5 vertebra; 36054005 C6 vertebra; 87391001 C7 vertebra; 64864005 T1 vertebra; "
    "53733008 T2 vertebra; 1626008 T3 vertebra; 73071006 T4 vertebra; 56401006 T5 vertebra; 45296009 T6 "
    "vertebra; 62487009 T7 vertebra; 11068009 T8 vertebra; 82687006 T9 vertebra; 7610001 T10 vertebra; "
    "12989004 T11 vertebra; 23215003 T12 vertebra; 66794005 L1 vertebra; 14293000 L2 vertebra; 36470004 L3 "
    "vertebra; 11994002 L4 vertebra; 49668003 L5 vertebra; 54735007 Sacrum; 64688005 Coccyx; 113197003 Rib; "
    "50016007 Costal Cartilage; 56873002 Sternum; 51299004 Clavicle; 79601000 Scapula; 85050009 Humerus; "
    "22356005 Ilium; 816092008 Pelvis; 71341001 Femur; 64234005 Patella; 80144004 Calcaneus; 87342007 Fibula; "
    "74135004 Meniscus; 309312004 Cartilage; 52082005 Ligament; 13024002 Tendon; 44947003 Erector spinae "
    "muscle; 15665001 Latissimus dorsi muscle; 31764008 Trapezius muscle; 60005003 Pectoralis major muscle; "
    "18686000 Pectoralis minor muscle; 22823000 Sternocleidomastoid muscle; 1142228004 Abdominal wall muscle; "
    "59441001 Lymph Node; 39937001 Skin; 69536005 Head; 45048000 Neck; 816094009 Chest; 818981001 Abdomen; "
    "38266002 Entire body"
)
_LESIONS = (
    "52988006 Lesion; 108369006 Neoplasm; 372087000 Neoplasm, Primary; 14799000 Neoplasm, Secondary; 4147007 "
    "Mass; 27925004 Nodule; 367643001 Cyst; 6574001 Necrosis; 79654002 Edema; 50960005 Hemorrhage; 44132006 "
    "Abscess; 409774005 Inflammation; 396339007 Thrombus; 55584005 Embolus; 75753009 Blood clot; 12402003 Scar "
    "tissue; 301766008 Lesion of Brain"
)
_TISSUES = (
    "85756007 Tissue; 55603005 Fat; 71966008 Subcutaneous tissue; 91727004 Muscle; 3138006 Bone; 87784001 Soft "
    "tissue; 21793004 Connective tissue; 6969002 Lymphoid tissue"
)
_SUBSTANCES = "87612001 Blood; 70150004 Bile; 78014005 Urine; 74947009 Gas; 32457005 Body fluid; 39477002 Feces"
_OBJECTS = (
    "40388003 Implant; 65818007 Stent; 19923001 Catheter; 53350007 Prosthesis; 14106009 Cardiac pacemaker; "
    "25510005 Heart valve prosthesis; 19227008 Foreign body; 27606000 Dental Prosthesis; 68183006 Bone Screw; "
    "77720000 Clip; 56353002 Staple"
)

_TYPES = {  # tables of types by the code of their category
    "91723000": _ANATOMY,
    "49755003": _LESIONS,
    "85756007": _TISSUES,
    "91720002": _SUBSTANCES,
    "260787004": _OBJECTS,
}


@cache
def known_codes(role: str) -> dict[str, str]:
    """Meanings by code.

    Args:
        role: ``type``, ``category``, ``modifier`` or ``side``.
    """
    tables = {"category": (_CATEGORIES,), "side": (_SIDES,), "modifier": (_MODIFIERS,)}
    return {code: meaning for text in tables.get(role, _TYPES.values()) for code, meaning in _entries(text)}


@cache
def categories() -> dict[str, str]:
    """The code of the category by that of the type."""
    return {code: category for category, text in _TYPES.items() for code, _ in _entries(text)}


def _entries(text: str) -> list[tuple[str, str]]:
    return [(code, meaning) for code, _, meaning in (entry.partition(" ") for entry in text.split("; "))]
